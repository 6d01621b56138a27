"""One output a person, beside the one that shows everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtmatte.compose.host import Compositor
from rtmatte.frame import Frame, Matte
from rtmatte.sinks import Sink


@dataclass(frozen=True, slots=True)
class Portrait:
    """How one person is drawn, and where to."""

    compositor: Compositor
    sink: Sink


class Everybody:
    """The compositor of everybody, which also sends each person alone to an output of their own."""

    def __init__(self, compositor: Compositor, portraits: Sequence[Portrait]) -> None:
        """`portraits` are those of the matte's targets, in their order."""
        self._compositor = compositor
        self._portraits = tuple(portraits)

    def render(self, matte: Matte) -> Frame:
        """Returns the picture of everybody; a person without a trustworthy alpha is hidden in their own."""
        for portrait, alpha in zip(self._portraits, matte.alphas, strict=True):
            portrait.sink.write(portrait.compositor.render(replace(matte, alpha=alpha, alphas=(alpha,))))
        return self._compositor.render(matte)


def own_outputs(output: Path, people: int) -> tuple[Path, ...]:
    """Returns the outputs of so many people: the name of everybody's with -1, -2, ... before its suffix."""
    return tuple(output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, people + 1))
