"""How the person's edge is drawn: a few numbers that a user may change between two frames."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rtmatte.errors import InputError

LIMITS: dict[str, tuple[float, float]] = {
    "edge_shift": (-4.0, 4.0),
    "edge_softness": (0.0, 8.0),
    "despill": (0.0, 1.0),
    "light_wrap": (0.0, 1.0),
    "steadiness": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What is done to an alpha and to the colours at its edge.

    `edge_shift` moves the edge by so many working pixels, outwards when positive; `edge_softness` widens it by so many.
    `despill` takes that share of the old room out of the edge's colours, `light_wrap` lets the new background shine
    around the edge, `steadiness` holds the alpha still where the picture did not change; all three 0 to 1.
    """

    edge_shift: float = 0.0
    edge_softness: float = 0.0
    despill: float = 1.0
    light_wrap: float = 0.0
    steadiness: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            least, most = LIMITS[field.name]
            found = getattr(self, field.name)
            if not least <= found <= most:
                raise InputError(f"expected {field.name} of {least:g} to {most:g}, found {found!r}")
