"""Golden files: a short clip, the settings it was run with, and what the reference computed for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.frame import Mask
from rtmatte.imaging import dilate_then_erode
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.resampling import limited, resize_linear, shrink_area, shrink_nearest
from tests.golden_weights import GOLDEN, golden_network

FOLDER = Path(os.environ.get("RTMATTE_GOLDEN", GOLDEN))


def golden_files() -> list[Path]:
    """Returns the clips of the folder in use; where there is none, the folder, so that a test fails over it."""
    return sorted(FOLDER.glob("*.npz")) or [FOLDER]


@dataclass(frozen=True, slots=True)
class Params:
    """The settings a clip was run with."""

    weights: str
    n_warmup: int
    r_erode: int
    r_dilate: int
    mem_every: int
    max_mem_frames: int
    top_k: int
    max_size: int
    max_internal_size: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a step: on which frame, and whether it seeds, settles or writes a slot."""

    frame: int
    seed: bool = False
    settle: bool = False
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class GoldenClip:
    """A golden file. `arrays` holds all of it by name: frames, mask, mask_used, alpha and recorded parts."""

    path: Path
    params: Params
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def load(cls, path: Path) -> GoldenClip:
        """Returns the clip in `path`; anything that keeps it from being used is an exception."""
        with path.open("rb") as raw, np.load(raw) as file:
            arrays = {name: file[name] for name in file.files}
        params = Params(**json.loads(str(arrays.pop("params"))))
        assert len(arrays["frames"]) == len(arrays["alpha"]) > 0, f"{path} has another number of frames than alphas"
        return cls(path, params, arrays)

    def network(self) -> MatAnyone:
        """Returns the network with the weights that the clip names."""
        return golden_network(self.path.parent / f"weights_{self.params.weights}.json")

    def frames(self) -> NDArray[np.float32]:
        """Returns the frames (N,H,W,3) in 0..255 at the size the network works at."""
        return np.stack([self._at_working_size(frame, shrink_area) for frame in self.arrays["frames"]])

    def mask(self) -> NDArray[np.float32]:
        """Returns the first mask (H,W) in 0..255, treated, at the size the network works at."""
        given = Mask(self.arrays["mask"].astype(np.float32) / np.float32(255))
        treated = dilate_then_erode(given, dilate=self.params.r_dilate, erode=self.params.r_erode)
        return self._at_working_size(np.rint(treated.values * 255), shrink_nearest)

    def at_output_size(self, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns an alpha of the network at the size that the clip's alphas have."""
        height, width = self.arrays["alpha"].shape[1:]
        return resize_linear(alpha, (width, height)) if self.params.max_internal_size > 0 else alpha

    def calls(self) -> Iterator[Call]:
        """Yields the calls of the protocol in their order."""
        yield Call(0, seed=True)
        for _ in range(self.params.n_warmup + 1):
            yield Call(0, settle=True)
        every, ring = self.params.mem_every, self.params.max_mem_frames - 1
        for n in range(1, len(self.arrays["frames"])):
            yield Call(n, slot=1 + (n // every - 1) % ring if n % every == 0 else None)

    def _at_working_size(self, picture: NDArray[Any], shrink: Any) -> NDArray[np.float32]:
        height, width = picture.shape[:2]
        size = (width, height)
        if (smaller := limited(size, self.params.max_size)) != size:
            picture = shrink(picture, smaller)
        height, width = picture.shape[:2]
        size = (width, height)
        if (smaller := limited(size, self.params.max_internal_size)) != size:
            picture = resize_linear(picture, smaller)
        return picture.astype(np.float32)
