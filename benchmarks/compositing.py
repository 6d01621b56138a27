"""What a frame costs beside the network: fitting it in, each background, and whole pictures.

    python -m benchmarks.compositing --size 1280x720 --json compositing.json

A made scene, no network and no files: a soft-edged person over texture, another alpha every frame. Each round draws
everything once, so a busy moment of the machine touches all rows alike. Processor time counts all threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from rtmatte.clock import MonotonicClock
from rtmatte.compose.backgrounds import Background, BackgroundSpec, Looped, Still, open_background
from rtmatte.compose.host import AlphaPicture, ComposeOptions, Composite, Foreground
from rtmatte.compose.look import Look
from rtmatte.compose.refine import Refiner
from rtmatte.frame import Frame, Matte, Phase
from rtmatte.imaging import Fit, Size, parse_size, resize
from rtmatte.latency import Percentiles

BURN_IN = 20  # rounds: buffers are made, caches and clocks settle
SCENES = 8

Draw = Callable[[Matte], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """One part's wall time per frame and its median processor time, all threads, in milliseconds."""

    wall_ms: Percentiles
    processor_ms: float


def scenes(size: Size, working: Size) -> list[Matte]:
    """Returns mattes of a person who moves over texture, with alphas at `working` size."""
    width, height = size
    rng = np.random.default_rng(0)
    room = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    made = []
    for number in range(SCENES):
        reach = np.hypot(x - width * (0.45 + 0.01 * number), y - height * 0.6) / height
        alpha = np.clip((0.35 - reach) * 100 + 0.5, 0, 1).astype(np.float32)
        mixed = alpha[..., None] * np.array((210, 160, 130), np.float32) + (1 - alpha[..., None]) * room
        frame = Frame(number, np.rint(mixed).astype(np.uint8), number / 30)
        made.append(Matte(frame, resize(alpha, working), Phase.TRACKING))
    return made


def parts(size: Size, working: Size) -> dict[str, Draw]:
    """Returns what is timed, by name; composites include the refinement and, unless they say so, the edge's colours."""
    picture: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)

    def play(_: Path) -> Iterator[Frame]:
        return (Frame(number, picture, 0.0, pts=number / 30) for number in count())

    backgrounds: dict[str, Callable[[], Background]] = {
        "colour": lambda: open_background(BackgroundSpec("colour")),
        "image": lambda: Still(picture),
        "video, not decoding": lambda: Looped(Path("made.mkv"), play),
        "blur": lambda: open_background(BackgroundSpec("blur")),
    }
    options = ComposeOptions()
    named: dict[str, Draw] = {
        "fit": _fit_alone(size, working),
        "cut out": Refiner().cut,
        "whole alpha": Refiner().alpha,
    }
    named |= {f"behind: {name}": _behind_alone(make(), size, working) for name, make in backgrounds.items()}
    named |= {f"composite: {name}": _composite(make()).render for name, make in backgrounds.items()}
    named["composite: blur, colours as they are"] = _composite(backgrounds["blur"](), Look(despill=0)).render
    named["all but the network: blur"] = _one_after_the_other(_fit_alone(size, working), named["composite: blur"])
    return named | {"alpha picture": AlphaPicture(options).render, "foreground": Foreground(options).render}


def _composite(background: Background, look: Look | None = None) -> Composite:
    return Composite(background, ComposeOptions(), MonotonicClock(), look=look)


def _one_after_the_other(first: Draw, second: Draw) -> Draw:
    return lambda matte: (first(matte), second(matte))


def _fit_alone(size: Size, working: Size) -> Draw:
    fit, fitted = Fit.contain(size, working), np.empty((working[1], working[0], 3), np.uint8)
    return lambda matte: fit.forward(matte.frame.pixels, fitted)


def _behind_alone(background: Background, size: Size, working: Size) -> Draw:
    out = np.empty((size[1], size[0], 3), np.uint8)
    picture, nobody = np.zeros((working[1], working[0], 3), np.uint8), np.zeros(working[::-1], np.float32)
    shown = (number / 30 for number in count())  # every draw is a frame later: a video moves on
    return lambda matte: background.behind(picture, nobody, out, at=next(shown))


def measure(size: Size, working: Size, rounds: int) -> dict[str, Cost]:
    """Returns the cost of each part over `rounds` rounds after the burn-in."""
    drawn, timed = scenes(size, working), parts(size, working)
    wall: dict[str, list[float]] = {name: [] for name in timed}
    processor: dict[str, list[float]] = {name: [] for name in timed}
    for number in track(range(BURN_IN + rounds), "drawing", console=Console(stderr=True)):
        first = drawn[number % SCENES]
        for name, draw in timed.items():
            frame = Frame(number, first.frame.pixels, number / 30)
            matte = Matte(frame, first.alpha, first.phase)  # a new one: refined alphas are kept per matte
            began, worked = time.perf_counter(), time.process_time()
            draw(matte)
            if number >= BURN_IN:
                wall[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - worked)
    return {
        name: Cost(Percentiles.of(np.array(wall[name])), Percentiles.of(np.array(processor[name])).p50)
        for name in timed
    }


def _table(costs: dict[str, Cost], title: str) -> Table:
    table = Table("ms a frame", "p50", "p95", "p99", "processor p50", title=title)
    for name, cost in costs.items():
        wall = cost.wall_ms
        table.add_row(name, *(f"{value:.2f}" for value in (wall.p50, wall.p95, wall.p99, cost.processor_ms)))
    return table


def main(
    size: Annotated[str, typer.Option(help="Width x height of the frames, in pixels.")] = "1280x720",
    working: Annotated[str, typer.Option(help="Width x height of the alphas, in pixels.")] = "512x288",
    rounds: Annotated[int, typer.Option(min=20, help="Times every part is drawn after the burn-in.")] = 200,
    threads: Annotated[int, typer.Option(min=1, help="Threads of OpenCV.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Times the drawing of composites."""
    cv2.setNumThreads(threads)
    costs = measure(parse_size(size), parse_size(working), rounds)
    Console().print(_table(costs, f"{size} from {working}, {threads} threads, {rounds} rounds"))
    if json is not None:
        body = {name: asdict(cost) for name, cost in costs.items()}
        report.write_json(json, "benchmarks.compositing", {"threads": threads, "rounds": rounds, "parts": body})


if __name__ == "__main__":
    report.run(main)
