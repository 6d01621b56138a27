"""What goes to a device for a composite and what comes back: each once, and nothing that a network left there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rtmatte.backends.eager_cuda import resident
from rtmatte.clock import ManualClock
from rtmatte.compose.device import DeviceDrawing
from rtmatte.contract import ALPHA, FRAME, MASK, SEED, Contract, DType, TensorSpec
from rtmatte.cuda import Memory
from rtmatte.frame import Alpha, Mask, Matte
from rtmatte.imaging import Size
from rtmatte.parcel import Parcel
from rtmatte.resident import ResidentEngine
from rtmatte.session import Session, SessionOptions
from rtmatte.targets.mask import MaskTarget
from rtmatte.torch_device import TorchDevice
from tests.assertions import assert_within_a_level
from tests.drawings import BACKGROUNDS, Bytes, both, scene


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
