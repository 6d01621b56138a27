"""Composites drawn on a device, here PyTorch's CPU, against those of the host, and the way that frames take there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtmatte.backends.eager_cuda import resident
from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Background, Looped, Still
from rtmatte.compose.blur import Blur
from rtmatte.compose.checkerboard import Checkerboard
from rtmatte.compose.device import DeviceDrawing
from rtmatte.compose.host import ComposeOptions, Composite
from rtmatte.compose.look import Look
from rtmatte.compose.tensors import Shrink, luma
from rtmatte.contract import ALPHA, FRAME, MASK, SEED, Contract, DType, TensorSpec
from rtmatte.cuda import Memory
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.imaging import Shrink as HostShrink
from rtmatte.imaging import Size, resize
from rtmatte.parcel import Parcel
from rtmatte.resident import ResidentEngine
from rtmatte.session import Session, SessionOptions
from rtmatte.targets.mask import MaskTarget
from rtmatte.torch_device import TorchDevice
from tests.assertions import assert_within_a_level
from tests.gpu import gpu_or_skip

Bytes = NDArray[np.uint8]
# (frame, working): usual, odd, portrait, both the same, and a working size nearly as large or larger than the frame.
SIZES: list[tuple[Size, Size]] = [
    ((640, 360), (256, 144)),
    ((337, 211), (129, 80)),
    ((360, 640), (144, 256)),
    ((320, 180), (320, 180)),
    ((321, 181), (321, 181)),
    ((100, 70), (96, 54)),
    ((1280, 720), (512, 288)),
    ((64, 48), (128, 96)),
]


def scene(size: Size, working: Size, seed: int = 0) -> Matte:
    """Returns a wavy person before a busy room, with noise of a sensor, and an alpha that is a little off."""
    rng, (width, height) = np.random.default_rng(seed), size
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.02 * np.sin(np.arctan2(y - height * 0.5, x - width * 0.5) * 9)
    far = np.hypot(x / width - 0.5, (y / height - 0.55) * 1.3)
    truth = np.clip((0.3 + wave - far) * min(size) / 12 + 0.5, 0, 1).astype(np.float32)
    room, person = (
        resize(rng.integers(low, 256, (max(2, height // part), max(2, width // part), 3), np.uint8), size)
        for low, part in ((0, 9), (120, 20))
    )
    mixed = truth[..., None] * person + (1 - truth[..., None]) * room + rng.normal(0, 3, room.shape)
    alpha = resize(truth, working)
    alpha += rng.normal(0, 0.01, alpha.shape).astype(np.float32) * (alpha > 0) * (alpha < 1)
    return Matte(Frame(seed, mixed.clip(0, 255).astype(np.uint8), seed / 30), alpha.clip(0, 1), Phase.TRACKING)


def picture(size: Size) -> Bytes:
    return np.random.default_rng(9).integers(0, 256, (size[1], size[0], 3), np.uint8)


BACKGROUNDS: dict[str, Callable[[], Background]] = {
    "colour": lambda: Still(np.full((1, 1, 3), (0, 255, 0), np.uint8)),
    "picture": lambda: Still(picture((90, 60))),
    "board": Checkerboard,
    "weak blur": lambda: Blur(1),
    "blur": lambda: Blur(50),
    "wide blur": lambda: Blur(100),
}


def both(background: Background, drawing: DeviceDrawing, look: Look | None = None) -> tuple[Composite, Composite]:
    """Returns the composite of the host and the one of the device."""
    host = Composite(background, ComposeOptions(), ManualClock(), look=look)
    return host, Composite(background, ComposeOptions(), ManualClock(), look=look, drawing=drawing)


class Counted(DeviceDrawing):
    """A drawing that counts what it drew."""

    drawn = 0

    def draw(self, matte: Matte, background: Background, look: Look, out: Bytes, *, at: float) -> bool:
        done = super().draw(matte, background, look, out, at=at)
        self.drawn += done
        return done


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize(("size", "working"), SIZES, ids=str)
def test_a_composite_of_the_device_is_the_hosts_within_a_level(size: Size, working: Size, name: str) -> None:
    drawing, matte = Counted(TorchDevice("cpu")), scene(size, working)
    host, device = both(BACKGROUNDS[name](), drawing)

    found, expected = device.render(matte).pixels, host.render(matte).pixels

    assert drawing.drawn == 1
    assert_within_a_level(found, expected)
    assert np.mean(found != expected) < 1e-3  # and nearly everywhere the very same


@pytest.mark.needs_gpu
def test_a_gpu_draws_the_same() -> None:
    gpu_or_skip()
    drawing = Counted(TorchDevice())
    for name, make in BACKGROUNDS.items():
        host, device = both(make(), drawing)
        for number in range(4):  # plainly, then captured
            matte = scene((1280, 720), (512, 288), number)
            assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)
        assert not drawing.fault, name


@pytest.mark.parametrize("despill", [0.0, 0.5])
def test_every_strength_of_despill_is_drawn_there(despill: float) -> None:
    drawing, matte = Counted(TorchDevice("cpu")), scene((640, 360), (256, 144))
    host, device = both(Still(picture((640, 360))), drawing)
    device.render(matte)
    host.look = device.look = Look(despill=despill)

    assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)
    assert drawing.drawn == 2


@pytest.mark.parametrize(
    "look", [Look(edge_shift=1), Look(edge_softness=3), Look(light_wrap=0.5), Look(steadiness=0.5)], ids=str
)
def test_other_looks_are_drawn_by_the_host(look: Look) -> None:
    drawing = Counted(TorchDevice("cpu"))
    host, device = both(Still(picture((160, 90))), drawing, look)
    for number in range(3):
        matte = scene((160, 90), (80, 45), number)

        np.testing.assert_array_equal(device.render(matte).pixels, host.render(matte).pixels)
    assert drawing.drawn == 0


def test_steadiness_begins_anew_after_frames_that_the_device_drew() -> None:
    drawing, shown = Counted(TorchDevice("cpu")), scene((160, 90), (80, 45))
    _, device = both(Still(picture((160, 90))), drawing, Look(steadiness=1))
    fresh, _ = both(Still(picture((160, 90))), drawing, Look(steadiness=1))
    assert shown.alpha is not None
    gone = Matte(shown.frame, np.zeros_like(shown.alpha), Phase.TRACKING)
    device.render(shown)
    device.look = Look()
    device.render(gone)
    device.look = Look(steadiness=1)

    np.testing.assert_array_equal(device.render(gone).pixels, fresh.render(gone).pixels)


def test_sizes_and_backgrounds_may_change_between_two_frames() -> None:
    drawing = Counted(TorchDevice("cpu"))
    for number, (name, pair) in enumerate(
        [("blur", SIZES[0]), ("picture", SIZES[0]), ("colour", SIZES[0]), ("colour", SIZES[1]), ("wide blur", SIZES[1])]
    ):
        host, device = both(BACKGROUNDS[name](), drawing)
        matte = scene(*pair, number)

        assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)
    assert drawing.drawn == 5


def test_a_video_behind_moves_on() -> None:
    def frames(path: Path) -> Iterator[Frame]:
        for number, level in enumerate((10, 200)):
            yield Frame(number, np.full((90, 160, 3), level, np.uint8), 0.0, pts=number / 30)

    drawing, clock = Counted(TorchDevice("cpu")), ManualClock()
    device = Composite(Looped(Path("two.mp4"), frames), ComposeOptions(), clock, drawing=drawing)

    corners = [int(device.render(scene((160, 90), (80, 45), number)).pixels[0, 0, 0]) for number in range(2)]

    assert corners == [10, 200]


def test_float_frames_are_rounded_as_the_host_rounds_them() -> None:
    matte = scene((160, 90), (80, 45))
    odd = matte.frame.pixels.astype(np.float32) + 0.3
    matte = Matte(Frame(0, odd, 0.0), matte.alpha, Phase.TRACKING)
    host, device = both(BACKGROUNDS["picture"](), DeviceDrawing(TorchDevice("cpu")))

    assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)


@pytest.mark.parametrize("level", [0.0, 1.0, 1 / 1024, 0.5])
def test_an_alpha_without_an_edge_is_drawn_too(level: float) -> None:
    of = scene((160, 90), (80, 45)).frame
    matte = Matte(of, np.full((45, 80), level, np.float32), Phase.TRACKING)
    for background in (Blur(50), Still(picture((160, 90)))):
        host, device = both(background, DeviceDrawing(TorchDevice("cpu")))

        assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)


def test_without_a_matte_nothing_is_asked_of_the_device() -> None:
    drawing = Counted(TorchDevice("cpu"))
    _, device = both(BACKGROUNDS["blur"](), drawing)
    lost = Matte(scene((160, 90), (80, 45)).frame, None, Phase.LOST)

    assert len(np.unique(device.render(lost).pixels.reshape(-1, 3), axis=0)) == 1
    assert drawing.drawn == 0


class FailingDevice(TorchDevice):
    """A device that works until it is told not to."""

    broken = False

    def wait(self) -> None:
        if self.broken:
            raise EngineError("PyTorch says: the GPU has fallen off the bus")


def test_a_device_that_fails_leaves_the_drawing_to_the_host_for_good_and_says_why() -> None:
    failing, matte = FailingDevice("cpu"), scene((160, 90), (80, 45))
    drawing = Counted(failing)
    host, device = both(BACKGROUNDS["picture"](), drawing)
    device.render(matte)
    failing.broken = True

    np.testing.assert_array_equal(device.render(matte).pixels, host.render(matte).pixels)
    failing.broken = False
    np.testing.assert_array_equal(device.render(matte).pixels, host.render(matte).pixels)

    assert drawing.drawn == 1
    assert drawing.fault == (
        "composites are drawn on the CPU from here on (PyTorch says: the GPU has fallen off the bus)"
    )


class RecordingDevice(TorchDevice):
    """PyTorch's CPU as if work could be captured; `calls` is what was asked of it, in order."""

    def __init__(self, *, capture_fails: bool = False) -> None:
        super().__init__("cpu")
        self.captures = True
        self.calls: list[str] = []
        self._capture_fails = capture_fails

    def allocate(self, nbytes: int) -> Memory:
        self.calls.append("allocate")
        return super().allocate(nbytes)

    def pinned(self, nbytes: int) -> Bytes:
        self.calls.append("pinned")
        return super().pinned(nbytes)

    def upload(self, source: Bytes, address: int) -> None:
        self.calls.append(f"upload {source.nbytes}")
        super().upload(source, address)

    def download(self, address: int, target: Bytes) -> None:
        self.calls.append(f"download {target.nbytes}")
        super().download(address, target)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        self.calls.append(f"copy {nbytes}")
        super().copy(source, target, nbytes)

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        self.calls.append("capture")
        return None if self._capture_fails else work

    def launch(self, graph: Callable[[], None]) -> None:
        self.calls.append("launch")
        graph()

    def mark(self) -> None:
        self.calls.append("mark")

    def wait(self) -> None:
        self.calls.append("wait")

    def told(self) -> list[str]:
        """Returns what was asked of it since the last question."""
        calls, self.calls = self.calls, []
        return calls


FRAME_UP, ALPHA_UP, DOWN = "upload 43200", "upload 14400", "download 43200"  # 160x90 in bytes, 80x45 in floats


def test_frame_and_alpha_go_up_once_the_composite_comes_back_once_and_nothing_is_allocated() -> None:
    device = RecordingDevice()
    _, composite = both(BACKGROUNDS["picture"](), DeviceDrawing(device))
    composite.render(scene((160, 90), (80, 45)))
    first = device.told()
    composite.render(scene((160, 90), (80, 45), 1))
    second = device.told()
    composite.render(scene((160, 90), (80, 45), 2))

    assert first.index("pinned") < first.index(FRAME_UP)
    assert first[-7:] == [FRAME_UP, ALPHA_UP, "upload 4", "upload 43200", DOWN, "mark", "wait"]
    assert second == [FRAME_UP, ALPHA_UP, "capture", "launch", DOWN, "mark", "wait"]
    assert device.told() == [FRAME_UP, ALPHA_UP, "launch", DOWN, "mark", "wait"]


def test_work_that_cannot_be_captured_is_tried_once_and_done_all_the_same() -> None:
    device = RecordingDevice(capture_fails=True)
    host, composite = both(BACKGROUNDS["blur"](), DeviceDrawing(device))
    for number in range(4):
        matte = scene((160, 90), (80, 45), number)
        assert_within_a_level(composite.render(matte).pixels, host.render(matte).pixels)

    assert device.calls.count("capture") == 1
    assert "launch" not in device.calls


def test_frames_allocate_nothing_on_the_host() -> None:
    _, composite = both(BACKGROUNDS["picture"](), DeviceDrawing(TorchDevice("cpu")))
    matte = scene((160, 90), (80, 45))
    for _ in range(8):  # every buffer of the ring
        composite.render(matte)
    tracemalloc.start()
    for _ in range(4):
        composite.render(matte)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < matte.frame.pixels.nbytes / 2


def test_bytes_are_shrunk_and_weighed_exactly_as_on_the_host() -> None:
    for old, new in [
        ((720, 1280), (288, 512)),
        ((211, 337), (80, 129)),
        ((480, 853), (288, 512)),
        ((54, 96), (54, 96)),
    ]:
        pixels = picture(old[::-1])
        expected = np.empty((*new, 3), np.uint8)
        HostShrink().into(pixels, expected)
        levels = torch.from_numpy(pixels).permute(2, 0, 1).float()

        found = Shrink(old, new, torch.device("cpu"), levels=True)(levels)

        np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)
        np.testing.assert_array_equal(luma(levels)[0].numpy(), cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


class Brightness(nn.Module):
    """A network that takes the bright for the person; on a seed, the mask."""

    def __init__(self, alpha: torch.dtype) -> None:
        super().__init__()
        self._alpha = alpha

    def forward(self, frame: Tensor, mask: Tensor, seed: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        bright = ((frame.float().mean(3)[:, None] - 100) / 60).clamp(0, 1)
        alpha = torch.where(seed[:, :, None, None] > 0.5, mask, bright)
        return (alpha if self._alpha.is_floating_point else (alpha * 255).round()).to(self._alpha), last


def network(size: Size, alpha: DType = "float32") -> ResidentEngine:
    width, height = size
    plane = (1, 1, height, width)
    contract = Contract(
        model="bright",
        role="step",
        inputs=(TensorSpec(FRAME, (1, height, width, 3), "uint8"), TensorSpec(MASK, plane), TensorSpec(SEED, (1, 1))),
        states=(TensorSpec("last", (1, 1)),),
        outputs=(TensorSpec(ALPHA, plane, alpha),),
    )
    return resident([(Brightness(getattr(torch, alpha)), contract)], TorchDevice("cpu"), backend="torch cpu")


def everything(size: Size) -> Mask:
    mask: Alpha = np.ones(size[::-1], np.float32)
    return Mask(mask)


@pytest.mark.parametrize(("dtype", "nbytes"), [("float32", 57600), ("uint8", 14400)])
def test_a_frame_goes_to_the_device_once_and_is_drawn_from_there_although_it_travels_on_parcels(
    dtype: DType, nbytes: int
) -> None:
    size: Size = (160, 90)
    recording = RecordingDevice()
    session = Session(network(size, dtype), MaskTarget(everything(size)), ManualClock(), SessionOptions(lend=True))
    host, device = both(BACKGROUNDS["blur"](), DeviceDrawing(recording))
    parcels = [Parcel(), Parcel()]
    waiting: list[Matte] = []
    for number in range(8):  # the network is a frame ahead of the drawing
        parcel = parcels[number % 2]
        parcel.pack_frame(scene(size, size, number).frame)
        parcel.pack_matte(session.process(parcel.frame))
        waiting.append(parcel.matte)
        if number == 0:
            continue
        matte = waiting.pop(0)
        recording.told()

        assert_within_a_level(device.render(matte).pixels, host.render(matte).pixels)

        uploads = [call for call in recording.told() if call.startswith(("upload", "copy"))]
        if number == 1:  # the network only learns that somebody asks
            assert matte.on_device is None
        elif number > 2:
            assert uploads == ["copy 43200", f"copy {nbytes}"]


def test_a_frame_of_another_size_than_the_networks_is_not_lent() -> None:
    session = Session(network((80, 45)), MaskTarget(everything((80, 45))), ManualClock(), SessionOptions(lend=True))

    assert all(session.process(scene((160, 90), (80, 45), n).frame).on_device is None for n in range(3))


def test_nobody_is_lent_anything_who_does_not_ask() -> None:
    session = Session(network((80, 45)), MaskTarget(everything((80, 45))), ManualClock())

    assert all(session.process(scene((80, 45), (80, 45), n).frame).on_device is None for n in range(3))
