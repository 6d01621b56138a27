"""The virtual camera before a backend of our own that keeps what it is sent: no device is needed."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.errors import EnvironmentFault, SinkError
from rtmatte.frame import Frame
from rtmatte.sinks import virtualcam
from rtmatte.sinks.virtualcam import BEAT, HOLD, SLATE, PixelFormat, VirtualCameraSink
from rtmatte.sinks.virtualcam.loopback import VIDIOC_STREAMON, carried_format

pytest.importorskip("pyvirtualcam", reason="needs rtmatte[vcam]")

SIZE = (16, 8)
BYTES = {PixelFormat.RGB: 3.0, PixelFormat.I420: 1.5, PixelFormat.NV12: 1.5, PixelFormat.YUYV: 2.0}


class Recorder:
    """A backend of pyvirtualcam: remembers the frames, or refuses to open with the words of a real one."""

    refusal: ClassVar[str] = ""
    sent: ClassVar[list[NDArray[np.uint8]]] = []
    closed: ClassVar[int] = 0

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **options: Any) -> None:
        if type(self).refusal:
            raise RuntimeError(type(self).refusal)
        self._device = device or "recorder"

    def send(self, frame: NDArray[np.uint8]) -> None:
        self.sent.append(frame.copy())

    def close(self) -> None:
        type(self).closed += 1

    def device(self) -> str:
        return self._device

    def native_fourcc(self) -> None:
        return None


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    """The only backend there is."""
    monkeypatch.setattr("pyvirtualcam.camera.BACKENDS", {"recorder": Recorder})
    monkeypatch.setattr(Recorder, "sent", [])
    monkeypatch.setattr(Recorder, "closed", 0)
    return Recorder


def frame(level: int, width: int = 16, height: int = 8) -> Frame:
    return Frame(0, np.full((height, width, 3), level, np.uint8), 0.0)


def opened(*, clock: ManualClock | None = None) -> VirtualCameraSink:
    return VirtualCameraSink(size=SIZE, fps=30, device="mine", pixel_format=PixelFormat.RGB, clock=clock)


def pictures(backend: type[Recorder]) -> list[NDArray[np.uint8]]:
    """What was shown after the slate of the opening, as RGB."""
    return [sent.reshape(8, 16, 3) for sent in backend.sent[1:]]


def test_frames_arrive_in_order_after_a_slate_and_the_device_is_let_go(backend: type[Recorder]) -> None:
    with opened() as sink:
        for level in (1, 2, 3):
            sink.write(frame(level))

        assert sink.device == "mine"
    assert tuple(backend.sent[0][:3]) == SLATE
    assert [shown.max() for shown in pictures(backend)] == [1, 2, 3]
    assert backend.closed == 1


def test_a_frame_of_another_size_is_fitted_in(backend: type[Recorder]) -> None:
    with opened() as sink:
        sink.write(frame(200))
        sink.write(frame(200, width=8, height=8))

    whole, fitted = pictures(backend)
    assert whole.min() == 200
    assert fitted[:, 4:12].min() == 200
    assert fitted[:, :4].max() == fitted[:, 12:].max() == 0


def test_grey_is_shown_and_transparency_refused(backend: type[Recorder]) -> None:
    with opened() as sink:
        sink.write(Frame(0, np.full((8, 16, 1), 9, np.uint8), 0.0))
        with pytest.raises(SinkError, match="RGBA"):
            sink.write(Frame(1, np.zeros((8, 16, 4), np.uint8), 0.0))

    assert [shown.min() for shown in pictures(backend)] == [9]


def test_a_silent_line_repeats_its_picture_and_then_shows_the_slate(backend: type[Recorder]) -> None:
    clock = ManualClock()
    with opened(clock=clock) as sink:
        sink.write(frame(200))
        sink.keep_alive()  # nothing to do yet
        clock.advance(BEAT)
        sink.keep_alive()
        clock.advance(BEAT)
        sink.keep_alive()
        clock.advance(2 * BEAT)
        assert clock.now() == HOLD
        sink.keep_alive()

    written, *repeated, slate = pictures(backend)
    assert [written.min(), *(each.min() for each in repeated)] == [200, 200, 200]
    assert tuple(slate[0, 0]) == SLATE


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.1, 0.13, 0.2, 0.249])
def test_whenever_the_beat_falls_an_old_picture_stands_for_a_second_at_most(
    phase: float, backend: type[Recorder]
) -> None:
    clock = ManualClock()
    with opened(clock=clock) as sink:
        sink.write(frame(200))
        clock.advance(phase)
        while clock.now() <= HOLD:
            sink.keep_alive()
            clock.advance(BEAT)

    assert tuple(pictures(backend)[-1][0, 0]) == SLATE


def test_a_camera_of_one_picture_a_second_is_no_silent_one(backend: type[Recorder]) -> None:
    clock = ManualClock()
    with VirtualCameraSink(size=SIZE, fps=1, device="mine", pixel_format=PixelFormat.RGB, clock=clock) as sink:
        sink.write(frame(200))
        for _ in range(round(1 / BEAT)):
            clock.advance(BEAT)
            sink.keep_alive()

    assert {shown.min() for shown in pictures(backend)} == {200}


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_white_and_black_are_what_readers_of_a_camera_expect(
    backend: type[Recorder], pixel_format: PixelFormat
) -> None:
    with VirtualCameraSink(size=SIZE, fps=30, pixel_format=pixel_format) as sink:
        sink.write(frame(255))
        sink.write(frame(0))

    white, black = backend.sent[1:]
    assert white.size == black.size == 16 * 8 * BYTES[pixel_format]
    assert set(white) == ({255} if pixel_format is PixelFormat.RGB else {235, 128})
    assert set(black) == ({0} if pixel_format is PixelFormat.RGB else {16, 128})


def test_colours_lie_where_their_format_has_them(backend: type[Recorder]) -> None:
    red = Frame(0, np.full((8, 16, 3), (255, 0, 0), np.uint8), 0.0)
    for pixel_format in PixelFormat:
        with VirtualCameraSink(size=SIZE, fps=30, pixel_format=pixel_format) as sink:
            sink.write(red)
    y, u, v = backend.sent[3][[0, 128, 160]]  # I420: planes of 128, 32 and 32 bytes

    assert v > 200 > 128 > u
    assert list(backend.sent[5][[0, 128, 129]]) == [y, u, v]  # NV12
    assert list(backend.sent[7][:4]) == [y, u, y, v]  # YUYV


def test_odd_sides_are_made_even(backend: type[Recorder]) -> None:
    with VirtualCameraSink(size=(17, 9), fps=30, pixel_format=PixelFormat.I420) as sink:
        sink.write(frame(1))

    assert backend.sent[1].size == 16 * 8 * 1.5


@pytest.mark.parametrize(
    ("refusal", "kind", "advice"),
    [
        ("No v4l2 loopback device found at /dev/video[0-99].", EnvironmentFault, virtualcam.HINTS["linux"]),
        ("Device /dev/video9 does not exist.", EnvironmentFault, virtualcam.LOAD_MODULE),
        ("Device /dev/video9 is not a video output device.", SinkError, "sudo modprobe -r v4l2loopback"),
        ("Device /dev/video9 is already in use.", SinkError, "stop that one"),
    ],
)
def test_what_the_backend_says_becomes_what_to_do(
    backend: type[Recorder],
    monkeypatch: pytest.MonkeyPatch,
    refusal: str,
    kind: type[Exception],
    advice: str,
) -> None:
    monkeypatch.setattr(backend, "refusal", refusal)
    monkeypatch.setattr(sys, "platform", "linux")

    with pytest.raises(kind) as caught:
        VirtualCameraSink(size=SIZE, fps=30, device="/dev/video9")

    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_virtual_cameras_that_are_all_in_use_are_not_missing(
    backend: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "refusal", "No v4l2 loopback device found at /dev/video[0-99].")
    monkeypatch.setattr(virtualcam, "devices", lambda: ["/dev/video9"])

    with pytest.raises(SinkError, match=r"stop the program .*fuser -v /dev/video9"):
        VirtualCameraSink(size=SIZE, fps=30)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_the_advice_is_obs(backend: type[Recorder], monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(backend, "refusal", "nothing\nfound")
    monkeypatch.setattr(sys, "platform", platform)

    with pytest.raises(EnvironmentFault, match="OBS Studio") as caught:
        VirtualCameraSink(size=SIZE, fps=30)

    assert "\n" not in str(caught.value)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)

    with pytest.raises(EnvironmentFault, match=r"pip install 'rtmatte\[vcam\]'"):
        VirtualCameraSink(size=SIZE, fps=30)


@pytest.mark.skipif(sys.platform != "linux", reason="only v4l2loopback needs it")
def test_the_open_device_is_marked_as_streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "video9"
    asked = []
    monkeypatch.setattr("fcntl.ioctl", lambda *call: asked.append(call))

    with device.open("wb") as held:
        opened_as(device, PixelFormat.RGB).close()
        descriptor = held.fileno()

    assert asked == [(descriptor, VIDIOC_STREAMON, (2).to_bytes(4, sys.byteorder))]


@pytest.mark.skipif(sys.platform != "linux", reason="only v4l2loopback is read back")
def test_a_device_that_passes_nothing_on_is_an_error(backend: type[Recorder], tmp_path: Path) -> None:
    device = tmp_path / "video9"
    device.write_bytes(b"what an earlier writer left")

    with pytest.raises(SinkError, match="reaches no reader; run: sudo modprobe -r v4l2loopback"):
        opened_as(device, PixelFormat.I420)

    assert backend.closed == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only v4l2loopback is read back")
def test_a_device_that_passes_on_what_is_sent_is_taken(
    backend: type[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "video9"
    monkeypatch.setattr(backend, "send", lambda self, frame: device.write_bytes(frame.tobytes()))

    opened_as(device, PixelFormat.I420).close()

    assert device.stat().st_size == 16 * 8 * 1.5


@pytest.mark.parametrize(
    ("carried", "pixel_format", "fits"),
    [
        ("YU12:16x8", PixelFormat.I420, True),
        ("YU12:16x8", PixelFormat.RGB, True),
        ("", PixelFormat.NV12, True),
        ("YU12:16x8", PixelFormat.NV12, False),
        ("YUYV:32x16", PixelFormat.YUYV, False),
    ],
)
def test_a_device_that_keeps_the_format_of_an_earlier_writer_is_not_fed_another(
    backend: type[Recorder], monkeypatch: pytest.MonkeyPatch, carried: str, pixel_format: PixelFormat, fits: bool
) -> None:
    monkeypatch.setattr(virtualcam, "carried_format", lambda device: carried)

    with nullcontext() if fits else pytest.raises(SinkError, match=f"carries {carried}.*close that program"):
        VirtualCameraSink(size=SIZE, fps=30, pixel_format=pixel_format).close()

    assert backend.closed == 1


def test_the_carried_format_is_read_without_its_rate(tmp_path: Path) -> None:
    node = tmp_path / "devices/virtual/video4linux/video9"
    node.mkdir(parents=True)
    (node / "format").write_text("YU12:640x360@30/1\n")

    assert carried_format("/dev/video9", tmp_path) == "YU12:640x360"
    assert carried_format("/dev/video8", tmp_path) == ""


def opened_as(device: Path, pixel_format: PixelFormat) -> VirtualCameraSink:
    return VirtualCameraSink(size=SIZE, fps=30, device=str(device), pixel_format=pixel_format)
