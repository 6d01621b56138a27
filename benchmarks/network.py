"""A model behind a session as one more Method: what is scored is what a user of the package would see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte import models
from rtmatte.clock import ManualClock
from rtmatte.compose.refine import Refiner
from rtmatte.engine import Engine, open_engine, sha256_of
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.imaging import Size
from rtmatte.session import Session, SessionOptions

FRAME_RATE = 30.0  # media time for the session's own deadlines; clips with known alpha carry none


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine and the sha256 of the file it was opened from."""

    engine: Engine
    sha256: str


class Network:
    """A matting network, one session per clip, with the warm-up a file gets and the alpha brought to frame size.

    `open_for` opens the engine for frames of a (width, height); it is asked once per size. A frame that the session
    hides has an alpha of zeros: nothing of it is shown.
    """

    def __init__(
        self, name: str, open_for: Callable[[Size], Opened], options: SessionOptions = SessionOptions()
    ) -> None:
        self.name = name
        self._options = options
        self._open_for = open_for
        self._opened: dict[Size, Opened] = {}
        self._clock = ManualClock()
        self._refiner = Refiner()

    def start(self, pixels: NDArray[np.uint8], mask: Mask) -> Alpha:
        size = (pixels.shape[1], pixels.shape[0])
        if size not in self._opened:
            self._opened[size] = self._open_for(size)
        self._session = Session(self._opened[size].engine, None, self._clock, self._options)
        self._session.reseed(mask)
        self._shown = 0
        return self.step(pixels)

    def step(self, pixels: NDArray[np.uint8]) -> Alpha:
        frame = Frame(self._shown, pixels, self._clock.now(), pts=self._shown / FRAME_RATE)
        self._shown += 1
        return self._refiner.alpha(self._session.process(frame))

    def facts(self) -> list[dict[str, Any]]:
        """Returns what a report says about each engine that has run so far."""
        return [
            {
                "model": opened.engine.contract.model,
                "size": list(opened.engine.contract.size),
                "sha256": opened.sha256,
                "backend": opened.engine.backend,
            }
            for opened in self._opened.values()
        ]


def open_network(model: str, options: SessionOptions = SessionOptions(), *, threads: int | None = None) -> Network:
    """Returns the network that `rtmatte` itself would run for `model`, the name of a bundled one or a file.

    Of a bundled model each clip gets the graph that fits its frames best. What the engine has to say goes to stderr.
    """

    note = partial(print, file=sys.stderr)

    def open_for(size: Size) -> Opened:
        path = Path(model) if Path(model).is_file() else models.find(model, size)
        return Opened(open_engine(path, size=size, threads=threads, note=note), sha256_of(path))

    return Network(Path(model).stem, open_for, options)


def identity_of(model: str) -> str:
    """Returns what changes when a model does: the file's sha256, or that of the list of the bundled ones."""
    return sha256_of(Path(model) if Path(model).is_file() else models.FOLDER / models.MANIFEST)
