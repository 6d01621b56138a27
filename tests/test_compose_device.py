"""Composites drawn on a device, here PyTorch's CPU, against those of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Background, Looped, Still
from rtmatte.compose.blur import Blur
from rtmatte.compose.device import DeviceDrawing
from rtmatte.compose.host import ComposeOptions, Composite
from rtmatte.compose.look import Look
from rtmatte.compose.tensors import Shrink, luma
from rtmatte.errors import EngineError
from rtmatte.frame import Frame, Matte, Phase
from rtmatte.imaging import Shrink as HostShrink
from rtmatte.imaging import Size
from rtmatte.torch_device import TorchDevice
from tests.assertions import assert_within_a_level
from tests.drawings import BACKGROUNDS, Bytes, both, picture, scene
from tests.gpu import gpu_or_skip

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
