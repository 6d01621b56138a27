"""The plans we know by name: which network, which frame size, how many rows, for which GPUs.

A recipe is a model family and a size: "lite-288p", "matanyone-720p". Lite's sizes that ship with the package are taken
as they are; every other graph is exported from a checkpoint first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtmatte import models
from rtmatte.contract import Role
from rtmatte.errors import InputError
from rtmatte.imaging import Size
from rtmatte.network.checkpoint import HALF, Variant

Family = Literal["lite", "matanyone"]

SIZES: dict[str, Size] = {"288p": (512, 288), "720p": (1280, 720), "1080p": (1920, 1080)}
BATCHES = (1, 2, 4, 8)
TARGETS = ("sm86", "sm89", "sm120")  # GeForce RTX 30, 40 and 50
FOLDER = Path("engines/plans")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A plan to build: the network, the frame size (width, height), the rows of one step.

    `variant` and `split`, into a head and a tail, are MatAnyone's; lite has neither.
    """

    family: Family
    size: Size
    batch: int = 1
    variant: Variant | None = None
    split: bool = False

    def __post_init__(self) -> None:
        if self.family == "lite" and (self.variant or self.split):
            raise InputError("lite has no variants and is not cut; leave --variant and --split out")
        if self.batch not in BATCHES:
            raise InputError(f"expected a batch of {', '.join(map(str, BATCHES))}, found {self.batch}")

    @property
    def stem(self) -> str:
        """The name of its files, "matanyone-512x288-fast-fp16-b2"."""
        width, height = self.size
        rows = f"b{self.batch}" if self.batch > 1 else None
        return "-".join(filter(None, (self.family, f"{width}x{height}", self.variant, rows)))

    @property
    def parts(self) -> tuple[Role, ...]:
        """The graphs it takes, in the order they run."""
        return ("head", "tail") if self.split else ("step",)

    def bundled(self) -> Path | None:
        """Returns the graph that ships with the package, where this very one does."""
        if self.batch > 1:
            return None
        listed = [m.file for m in models.listing() if m.name == self.family and (m.width, m.height) == self.size]
        return models.FOLDER / listed[0] if listed else None


RECIPES: dict[str, tuple[Family, Size]] = {
    f"{family}-{name}": (family, size) for family in ("lite", "matanyone") for name, size in SIZES.items()
}


def find(name: str, *, batch: int = 1, variant: Variant | None = None, split: bool = False) -> Recipe:
    """Returns the recipe of that name; InputError, with the names there are, where there is none."""
    if name not in RECIPES:
        raise InputError(f"expected a recipe of {', '.join(RECIPES)}, found {name!r}")
    family, size = RECIPES[name]
    if family == "matanyone":
        variant = variant or HALF
    return Recipe(family, size, batch, variant, split)
