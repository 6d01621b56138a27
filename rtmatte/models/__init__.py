"""The models that ship with the package: which there are, which fits a picture best, and what their bytes must be.

`manifest.json` lists them, with the sha256 of every file. Nothing here reads a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rtmatte.errors import ModelError

FOLDER = Path(__file__).parent
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class BundledModel:
    """One entry of the manifest: a graph of the model `name` for frames of `width` x `height`."""

    name: str
    file: str
    width: int
    height: int
    sha256: str
    bytes: int

    def __str__(self) -> str:
        return f"{self.name} ({self.width}x{self.height})"


def listing() -> tuple[BundledModel, ...]:
    """Returns the bundled models in the manifest's order, the default first; ModelError when it cannot be read."""
    path = FOLDER / MANIFEST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["models"]
        return tuple(BundledModel(**entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the list of bundled models {path} is damaged ({error}); install rtmatte again") from error


def find(name: str, size: tuple[int, int] | None = None) -> Path:
    """Returns the file of model `name` whose shape wastes least on frames of `size` (width, height).

    Without a size, and among graphs of one shape, it is the first. ModelError when there is no such model, or its file
    is gone.
    """
    models = listing()
    graphs = [model for model in models if model.name == name]
    if not graphs:
        known = ", ".join(map(str, models)) or "none"
        raise ModelError(f"no model {name!r}: expected a file or one of the bundled models, which are {known}")
    best = graphs[0] if size is None else max(graphs, key=lambda model: _used(model, size))
    return _file_of(best)


def find_smaller(name: str, size: tuple[int, int]) -> Path | None:
    """Returns the file of a graph of model `name` that costs less than the best one for frames of `size`.

    Of several it is the one that shows frames largest. None when none shows them at a third of the best one's pixels.
    """
    graphs = [model for model in listing() if model.name == name]
    if not graphs:
        return None
    best = max(graphs, key=lambda model: _used(model, size))
    cheaper = [model for model in graphs if model.width * model.height < best.width * best.height]
    small = max(cheaper, key=lambda model: _pixels(model, size), default=best)
    return None if small is best or 3 * _pixels(small, size) < _pixels(best, size) else _file_of(small)


def _file_of(best: BundledModel) -> Path:
    path = FOLDER / best.file
    if not path.is_file():
        raise ModelError(f"the bundled model {best} is missing: {path}; install rtmatte again")
    return path


def recorded_sha256(path: Path) -> str | None:
    """Returns the sha256 the manifest has for the file `path`, or None when that is no bundled file."""
    if path.resolve().parent != FOLDER.resolve():
        return None
    return next((model.sha256 for model in listing() if model.file == path.name), None)


def _pixels(model: BundledModel, size: tuple[int, int]) -> float:
    """Returns how many of the model's pixels a frame of `size` fills when it is fitted inside."""
    return _used(model, size) * model.width * model.height


def _used(model: BundledModel, size: tuple[int, int]) -> float:
    """Returns the share of the model's picture that a frame of `size` fills when it is fitted inside, 0..1."""
    across, down = size[0] * model.height, size[1] * model.width
    return min(across, down) / max(across, down)
