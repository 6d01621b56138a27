"""The three kinds of training pass: matting, segmentation, and core supervision of the matting head on masks.

Each turns a follower's answers into the named, weighted parts of its loss; their sum is minimised. The first frame
weighs 5 times as much as another: it anchors the memory.
Shapes: B clips, T frames, H x W pixels; truths are [B,T,1,H,W] in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training import core_supervision, losses, segmentation
from training.core_supervision import Consistency
from training.follow import Answers

Parts = dict[str, Tensor]
Where = Literal["band", "everywhere"]

FIRST_FRAME = 5.0
PYRAMID_LEVELS = 5
CHANGED_MATTE = 0.001  # more than this is a change of a matte; of a mask anything is
CHANGE_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Weighing:
    """How the parts are weighed where the paper and its code differ, or leave it open."""

    auxiliary: float = 0.01  # of the heads that only training uses
    consistency: Consistency = "scaled ddc"
    boundary: float = core_supervision.BOUNDARY_WEIGHT
    where: Where = "band"  # where the boundary loss looks
    band_pixels: int = 512  # of a frame
    points: int = 1024  # of a frame, for the segmentation losses


def matting(answers: Answers, alpha: Tensor, weighing: Weighing, *, clamped: bool, still: bool) -> Parts:
    """Returns the parts of a pass with known alpha. `clamped` is false for an untrained head, whose clamped output
    has no gradient; a `still` batch, made from pictures, teaches nothing about change."""
    value = answers.raw.clamp(0, 1) if clamped else answers.raw
    parts = {
        "l1": _first_frame_heavy(_l1, value, alpha),
        "pyramid": _first_frame_heavy(_pyramid, value, alpha),
        "temporal": losses.temporal(value, alpha),
        "auxiliary": weighing.auxiliary * _coarse(answers, alpha),
    }
    return parts if still else parts | {"change": _change(answers, losses.changed(alpha, CHANGED_MATTE))}


def segment(answers: Answers, mask: Tensor, weighing: Weighing, *, still: bool, generator: torch.Generator) -> Parts:
    """Returns the parts of a pass with the segmentation head over a batch of masks."""
    points = segmentation.unsure_points(answers.raw, weighing.points, generator)
    logits, truth = (segmentation.at_points(maps, points) for maps in (answers.raw, mask))
    parts = {
        "cross-entropy": segmentation.cross_entropy(logits, truth),
        "dice": segmentation.dice(logits, truth),
        "auxiliary": weighing.auxiliary * _coarse(answers, mask),
    }
    return parts if still else parts | {"change": _change(answers, losses.changed(mask, 0.0))}


def core(answers: Answers, frames: Tensor, mask: Tensor, weighing: Weighing, *, generator: torch.Generator) -> Parts:
    """Returns the parts of a pass with the matting head over a batch of masks: L = L_core + 1.5 L_boundary."""
    value = answers.raw.clamp(0, 1)
    trimap = core_supervision.trimap(mask)
    if weighing.where == "band":
        pixels = core_supervision.band_pixels(trimap, most=weighing.band_pixels, generator=generator)
    else:
        pixels = core_supervision.all_pixels(trimap)
    known = trimap != 0.5
    boundary = core_supervision.boundary(value, frames, pixels, consistency=weighing.consistency)
    return {
        "core": core_supervision.core(value, mask, known),
        "boundary": weighing.boundary * boundary,
        "auxiliary": weighing.auxiliary * _coarse_core(answers, mask, known),
    }


def _first_frame_heavy(loss: Callable[[Tensor, Tensor], Tensor], value: Tensor, truth: Tensor) -> Tensor:
    frames = value.shape[1]
    first = FIRST_FRAME * loss(value[:, :1], truth[:, :1])
    if frames == 1:
        return first
    return (first + (frames - 1) * loss(value[:, 1:], truth[:, 1:])) / frames


def _l1(value: Tensor, truth: Tensor) -> Tensor:
    return (value - truth).abs().mean()


def _pyramid(value: Tensor, truth: Tensor) -> Tensor:
    return losses.laplacian(value, truth, PYRAMID_LEVELS)


def _coarse(answers: Answers, truth: Tensor) -> Tensor:
    """The L1 distance of every auxiliary map to the truth at its size, summed over the heads."""
    return torch.stack([(maps - _at(maps, truth)).abs().mean((0, 1, 3, 4)).sum() for maps in answers.auxiliary]).sum()


def _coarse_core(answers: Answers, mask: Tensor, known: Tensor) -> Tensor:
    """The same over cells of which every pixel is known."""
    heads = []
    for maps in answers.auxiliary:
        sure = _at(maps, known.float()) == 1
        heads += [core_supervision.core(head[:, :, None], _at(maps, mask), sure) for head in maps.unbind(2)]
    return torch.stack(heads).sum()


def _at(maps: Tensor, truth: Tensor) -> Tensor:
    """A truth, each pixel the mean of those it covers, at the size of `maps`."""
    return losses.cells(truth, truth.shape[-1] // maps.shape[-1])


def _change(answers: Answers, changed: Tensor) -> Tensor:
    probability = answers.change.clamp(1e-6, 1 - 1e-6)
    return CHANGE_WEIGHT * F.binary_cross_entropy(probability, changed)
