"""The virtual camera before a backend of our own that keeps what it is sent: no device is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.errors import EnvironmentFault, SinkError
from rtmatte.frame import Frame
from rtmatte.sinks import virtualcam
from rtmatte.sinks.virtualcam import VirtualCameraSink

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="needs rtmatte[vcam]")

SIZE = (16, 8)


class Recorder:
    """A backend of pyvirtualcam: remembers the frames, or refuses to open with the words of a real one."""

    refusal: ClassVar[str] = ""
    sent: ClassVar[list[NDArray[np.uint8]]] = []
    closed: ClassVar[int] = 0

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **options: Any) -> None:
        if type(self).refusal:
            raise RuntimeError(type(self).refusal)
        self._shape = (height, width, 3)
        self._device = device or "recorder"

    def send(self, frame: NDArray[np.uint8]) -> None:
        self.sent.append(frame.reshape(self._shape).copy())

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


def test_frames_arrive_in_order_and_the_device_is_let_go(backend: type[Recorder]) -> None:
    with VirtualCameraSink(size=SIZE, fps=30, device="mine") as sink:
        for level in (1, 2, 3):
            sink.write(frame(level))

        assert sink.device == "mine"
    assert [sent.max() for sent in backend.sent] == [1, 2, 3]
    assert backend.closed == 1


def test_a_frame_of_another_size_is_fitted_in(backend: type[Recorder]) -> None:
    with VirtualCameraSink(size=SIZE, fps=30) as sink:
        sink.write(frame(200))
        sink.write(frame(200, width=8, height=8))

    whole, fitted = backend.sent
    assert whole.min() == 200
    assert fitted[:, 4:12].min() == 200
    assert fitted[:, :4].max() == fitted[:, 12:].max() == 0


def test_grey_is_shown_and_transparency_refused(backend: type[Recorder]) -> None:
    with VirtualCameraSink(size=SIZE, fps=30) as sink:
        sink.write(Frame(0, np.full((8, 16, 1), 9, np.uint8), 0.0))
        with pytest.raises(SinkError, match="RGBA"):
            sink.write(Frame(1, np.zeros((8, 16, 4), np.uint8), 0.0))

    assert backend.sent[0].shape == (8, 16, 3)
    assert backend.sent[0].min() == 9


@pytest.mark.parametrize(
    ("refusal", "kind", "advice"),
    [
        ("No v4l2 loopback device found at /dev/video[0-99].", EnvironmentFault, virtualcam.HINTS["linux"]),
        ("Device /dev/video9 does not exist.", EnvironmentFault, virtualcam.LOAD_MODULE),
        ("Device /dev/video9 is not a video output device.", EnvironmentFault, "sudo modprobe -r v4l2loopback"),
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

    with device.open("wb") as opened, VirtualCameraSink(size=SIZE, fps=30, device=str(device)):
        descriptor = opened.fileno()

    assert asked == [(descriptor, virtualcam.VIDIOC_STREAMON, (2).to_bytes(4, sys.byteorder))]
