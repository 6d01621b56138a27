"""What the tests inside the small machine share: a running `rtmatte run`, and two programs that read a camera."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.sources.synthetic import decode_code

VIRTUAL, REAL = "/dev/video10", "/dev/video20"
Size = tuple[int, int]  # (width, height)
SCENE, CAPTURE = (
    (128, 72),
    (320, 180),
)  # of the made scene, small to be drawn fast here, and of vivid, which has no less
RATE = 4  # frames a second: too few to be taken for an overload where the emulator is slow, which would hide everybody
MODEL = Path("/exchange/passthrough.onnx")
PATIENCE = 400.0  # seconds; importing the package takes one on a laptop, and a minute or two in a busy emulator

Layout = Literal["i420", "yuyv"]
Luma = NDArray[np.uint8]  # (frames, H, W)
FLAT = 8  # a frame with less contrast is a slate


class Run:
    """`rtmatte run` as a process of its own."""

    def __init__(self, camera: str, size: Size, *options: str) -> None:
        arguments = ["--camera", camera, "--size", f"{size[0]}x{size[1]}", "--background", "green", "--fps", str(RATE)]
        arguments += ["--model", str(MODEL), "--trust", *options]
        self._log = open("/tmp/rtmatte.log", "w+")  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtmatte", "run", *arguments], stdout=self._log, stderr=subprocess.STDOUT
        )

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits for `holds`; fails with the process's own words when it ends or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self._process.poll() is None, f"rtmatte ended before {what}:\n{self.said()}"
            assert time.monotonic() < deadline, f"not {what} after {PATIENCE:.0f} s:\n{self.said()}"
            time.sleep(0.2)

    def wait_until_open(self) -> None:
        """Waits until the virtual camera is there for readers."""
        self.wait_until(lambda: "choose the camera" in self.said(), "opening the virtual camera")

    def wait_until_shown(self, layout: Layout) -> None:
        """Waits until a reader gets the made scene."""
        self.wait_until_open()
        self.wait_until(lambda: len(numbers(read_with_v4l2_ctl(1, layout))) > 0, "showing the made scene")

    def kill(self) -> None:
        """Ends it as a crash does: it can clean up nothing."""
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> int:
        """Returns its exit status after Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE)

    def said(self) -> str:
        """Returns its last words."""
        return "\n".join(Path(self._log.name).read_text().splitlines()[-20:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._log.close()


def read_with_v4l2_ctl(count: int, layout: Layout) -> Luma:
    """Returns the brightness of `count` frames, as v4l2-ctl gets them from the memory that the driver maps."""
    raw = Path("/tmp/v4l2-ctl.raw")
    stream = ["--stream-mmap=3", f"--stream-count={count}", f"--stream-to={raw}"]
    subprocess.run(["v4l2-ctl", "-d", VIRTUAL, *stream], check=True, capture_output=True, timeout=PATIENCE)
    return luma(raw.read_bytes(), layout, SCENE)


@contextmanager
def reading(raw: Path) -> Iterator[None]:
    """Has v4l2-ctl write every frame that it gets to `raw` meanwhile."""
    stream = ["--stream-mmap=3", "--stream-count=100000", f"--stream-to={raw}"]
    command = ["v4l2-ctl", "-d", VIRTUAL, *stream]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as reader:
        try:
            yield
        finally:
            reader.kill()


def luma(raw: bytes, layout: Layout, size: Size) -> Luma:
    """Returns the brightness of the frames in `raw`, as many as are whole."""
    flat, (width, height) = np.frombuffer(raw, np.uint8), size
    if layout == "yuyv":
        step = width * height * 2
        return flat[: flat.size // step * step].reshape(-1, height, width, 2)[..., 0]
    step = width * height * 3 // 2
    return flat[: flat.size // step * step].reshape(-1, height * 3 // 2, width)[:, :height]


def read_with_ffmpeg(count: int) -> Luma:
    """Returns the brightness of `count` frames, as ffmpeg gets and converts them."""
    raw = Path("/tmp/ffmpeg.raw")
    reads = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "v4l2", "-i", VIRTUAL, "-frames:v", str(count)]
    # Without passthrough it repeats frames to fill a constant rate.
    writes = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", str(raw)]
    subprocess.run([*reads, *writes], check=True, timeout=PATIENCE)
    return np.frombuffer(raw.read_bytes(), np.uint8).reshape(count, SCENE[1], SCENE[0])


def numbers(frames: Luma) -> list[int | None]:
    """Returns the number in the strip of each frame but slates; None where it is damaged or there is none."""
    pictures = [frame for frame in frames if np.ptp(frame) >= FLAT]
    return [decode_code(np.repeat(frame[..., None], 3, axis=2)) for frame in pictures]


def announced_format() -> str:
    """Returns what v4l2-ctl says of the format of the virtual camera."""
    asked = ["v4l2-ctl", "-d", VIRTUAL, "--get-fmt-video"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


def is_open(device: str) -> bool:
    """Whether any process has `device` open: the light of a real camera."""
    return any(_link(descriptor) == device for descriptor in _descriptors())


def _descriptors() -> Iterable[Path]:
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            yield from folder.iterdir()
        except OSError:  # the process has ended
            continue


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""
