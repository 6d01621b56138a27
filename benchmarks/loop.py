"""Times the live loop by a number stamped on the person: how old is what arrives at the sink?

    python -m benchmarks.loop --json loop.json

Three runs: one frame under way at a time (back to back), the pace of a camera, and three times what the line can carry.
The age of a frame is read from the pixels that arrive, not from what the line says of itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from threading import Semaphore
from typing import Annotated, Any, Protocol

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import report
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.control import Control
from rtmatte.engine import open_engine
from rtmatte.errors import InputError
from rtmatte.frame import Frame
from rtmatte.imaging import Size, parse_size, resize
from rtmatte.latency import Meter, Percentiles
from rtmatte.live import LiveLine
from rtmatte.pipeline import Counts
from rtmatte.session import Session
from rtmatte.settings import Settings
from rtmatte.sources.file import FileSource
from rtmatte.sources.synthetic import NUMBER_BITS, ONE, SyntheticSource, decode_code
from rtmatte.step import Engine
from rtmatte.targets import Target
from rtmatte.targets.person import PersonTarget

CLIP = Path(__file__).parents[1] / "rtmatte" / "assets" / "walk.mkv"
STRIP: Size = (64, 12)  # of the stamped number, in pixels: four a block
MARGIN = 8  # pixels of the person around it
LIGHT, DARK = 250, 190  # both are bright, so that the stamp is of the person
NUMBERS = 1 << NUMBER_BITS
OVERLOAD = 3.0
SETTLING = 5  # readable frames at the start of a run that are not counted

Picture = NDArray[np.uint8]


class Pictures:
    """Pictures of a person, there and back again, each with its number stamped at `place` (x, y)."""

    def __init__(self, pictures: Sequence[Picture], place: tuple[int, int]) -> None:
        self.size: Size = (pictures[0].shape[1], pictures[0].shape[0])
        self._pictures = [*pictures, *pictures[-2:0:-1]]
        self._window = slice(place[1], place[1] + STRIP[1]), slice(place[0], place[0] + STRIP[0])
        self._numbers = SyntheticSource(MonotonicClock(), size=(STRIP[0], 48))

    def stamped(self, seq: int) -> Picture:
        """Returns the picture of frame `seq`, a new array."""
        pixels = self._pictures[seq % len(self._pictures)].copy()
        row = self._numbers.pixels_of(seq % NUMBERS)[:1]
        pixels[self._window] = np.where(row == ONE, LIGHT, DARK)
        return pixels

    def number_in(self, pixels: NDArray[Any]) -> int | None:
        """Returns the number in a picture that came out, None when it cannot be read."""
        return decode_code(pixels[self._window])


def person_pictures(clip: Path, size: Size, engine: Engine, *, count: int = 16) -> Pictures:
    """Returns the pictures of a clip at `size`, stamped where the person always is."""
    clock = MonotonicClock()
    with FileSource(clip, clock) as source:
        session, always = Session(engine, PersonTarget(engine), clock), np.ones(size[::-1], np.float32)
        pictures = []
        for frame, _ in zip(source, range(count), strict=False):
            pixels = resize(frame.pixels, size).astype(np.uint8)
            alpha = session.process(Frame(frame.seq, pixels, 0.0)).alpha
            if alpha is not None:
                always = np.minimum(always, resize(alpha, size))
                pictures.append(pixels)
    # The strip fits where a box of its size around a point is all of the person.
    inside = cv2.erode(
        (always > 0.99).astype(np.uint8), np.ones((STRIP[1] + 2 * MARGIN, STRIP[0] + 2 * MARGIN), np.uint8)
    )
    if not inside.any():
        raise InputError(f"expected a person large enough for a stamp of {STRIP} in {clip.name}; give a larger --size")
    y, x = np.unravel_index(cv2.distanceTransform(inside, cv2.DIST_L2, 5).argmax(), inside.shape)
    return Pictures(pictures, (int(x) - STRIP[0] // 2, int(y) - STRIP[1] // 2))


class Pace(Protocol):
    """When the next frame is made."""

    def wait(self, seq: int) -> None: ...

    def sent(self) -> None: ...


class BackToBack:
    """The next frame when the one before was sent, or was lost."""

    def __init__(self) -> None:
        self._free = Semaphore(1)

    def wait(self, seq: int) -> None:
        self._free.acquire(timeout=1.0)

    def sent(self) -> None:
        self._free.release()


class AtRate:
    """So many frames a second."""

    def __init__(self, fps: float, clock: Clock) -> None:
        self._fps, self._clock = fps, clock
        self._began: float | None = None

    def wait(self, seq: int) -> None:
        if self._began is None:
            self._began = self._clock.now()
        self._clock.sleep(self._began + seq / self._fps - self._clock.now())

    def sent(self) -> None:
        """A camera does not wait for anybody."""


class Stream:
    """Source and sink of one run. It takes all its memory at once: what grows meanwhile is the line."""

    def __init__(self, pictures: Pictures, pace: Pace, clock: Clock, *, frames: int) -> None:
        self.unread = 0
        self._ages, self._read = np.full(frames, np.nan), 0
        self._pictures, self._pace, self._clock, self._frames = pictures, pace, clock, frames
        self._made = np.zeros(NUMBERS)

    @property
    def ages(self) -> NDArray[np.float64]:
        """How old each picture that could be read was when it arrived, in seconds."""
        return self._ages[: self._read]

    def __iter__(self) -> Iterator[Frame]:
        for seq in range(self._frames):
            pixels = self._pictures.stamped(seq)
            self._pace.wait(seq)
            self._made[seq % NUMBERS] = now = self._clock.now()
            yield Frame(seq, pixels, now)

    def write(self, frame: Frame) -> None:
        now, number = self._clock.now(), self._pictures.number_in(frame.pixels)
        if number is None:  # hidden while the person is looked for, or not to be read
            self.unread += 1
        else:
            self._ages[self._read] = now - self._made[number]
            self._read += 1

    def progress(self, counts: Counts) -> None:
        self._pace.sent()


def measure(
    pictures: Pictures, engine: Engine, finder: Target, *, frames: int, fps: float, background: str = "blur"
) -> dict[str, Any]:
    """Returns the ages in ms and the drops of the three runs, of `frames` frames each, and of more in the last."""
    clock = MonotonicClock()
    runs = {"back to back": _run(pictures, BackToBack(), engine, finder, clock, frames, background)}
    carried = 1000 / runs["back to back"]["age_ms"]["p50"]
    overload = round(OVERLOAD * frames)
    for name, rate, given in ((f"{fps:g} fps", fps, frames), (f"overload x{OVERLOAD:g}", OVERLOAD * carried, overload)):
        run = _run(pictures, AtRate(rate, clock), engine, finder, clock, given, background)
        stages = sum(run["stages_ms"][name]["p95"] for name in ("network", "composited", "sent"))
        bound = 2000 / min(rate, carried) + stages
        runs[name] = {"fps_given": round(rate, 1), "bound_ms": round(bound, 2), **run}
    return {
        "size": "x".join(map(str, pictures.size)),
        "model": engine.contract.model,
        "backend": engine.backend,
        "background": background,
        "runs": runs,
    }


def _run(
    pictures: Pictures, pace: Pace, engine: Engine, finder: Target, clock: Clock, frames: int, background: str
) -> dict[str, Any]:
    stream, meter = Stream(pictures, pace, clock, frames=frames), Meter()
    mask = finder.propose(Frame(0, pictures.stamped(0), clock.now()))
    control = Control(Settings(background=background))
    line = LiveLine(engine, control, clock, size=pictures.size, first_mask=mask, meter=meter)
    began = time.perf_counter()
    counts = line.run(stream, stream, progress=stream.progress)
    seconds = time.perf_counter() - began
    ages = np.array(stream.ages[SETTLING:])
    if not ages.size:
        raise InputError("expected stamped pictures at the sink, found none; give more --frames")
    return {
        "fps_sent": round(counts.sent / seconds, 1),
        "received": counts.received,
        "sent": counts.sent,
        "dropped": dict(counts.dropped),
        "unread": stream.unread,
        "rung": line.status.rung.value,
        "age_ms": report.rounded({**asdict(Percentiles.of(ages)), "max": float(ages.max() * 1e3)}, 2),
        "stages_ms": {stage: report.rounded(asdict(found), 2) for stage, found in meter.summary().items()},
    }


def main(
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    size: Annotated[str, typer.Option(help="Width x height of the pictures.")] = "1280x720",
    frames: Annotated[int, typer.Option(min=100, help="Frames of each run.")] = 600,
    fps: Annotated[float, typer.Option(min=1, help="The pace of the camera.")] = 30.0,
    background: Annotated[str, typer.Option(help="As for rtmatte run.")] = "blur",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network (default: the backend's).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How old a frame is when it leaves the live loop."""
    given = parse_size(size)
    with closing(open_engine(model, size=given, threads=threads)) as engine, closing(open_engine("lite")) as lite:
        found = measure(
            person_pictures(CLIP, given, lite),
            engine,
            PersonTarget(lite),
            frames=frames,
            fps=fps,
            background=background,
        )
    table = Table(
        "age in ms", "p50", "p95", "p99", "max", "sent/s", "bound", title=f"{found['model']}, {found['size']}"
    )
    for name, run in found["runs"].items():
        ages = [f"{value:.1f}" for value in run["age_ms"].values()]
        table.add_row(name, *ages, f"{run['fps_sent']}", f"{run.get('bound_ms', '')}")
    Console().print(table)
    if json is not None:
        report.write_json(json, "benchmarks.loop", found)


if __name__ == "__main__":
    report.run(main)
