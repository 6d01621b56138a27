"""What the strategy trains on, as batches that are a function of a number: nothing of it needs to be in a checkpoint.

Shapes: B clips, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.data.clips import ClipMaker, ClipOptions
from training.data.dice import Dice
from training.data.masked import MaskClip, Sampling, sample_masked
from training.data.masks import given_mask
from training.stages import Stage


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """Clips with their truth, float32 in 0..1."""

    frames: Tensor  # [B,T,3,H,W]
    truth: Tensor  # [B,T,1,H,W], an alpha, or a mask of zeros and ones
    mask: Tensor  # [B,1,H,W], the first mask as somebody would give it
    still: bool = False  # made from single pictures


class Material(Protocol):
    """Where batches come from; equal arguments give equal batches."""

    def matting(self, stage: Stage, number: int) -> Batch:
        """Returns clips with alpha."""
        ...

    def masked(self, stage: Stage, number: int, *, still: bool) -> Batch:
        """Returns clips with masks, from videos or, `still`, from pictures."""
        ...


class MadeMaterial:
    """Clips made from cut-outs (harmonised, one set of parameters a clip), and masks of real footage where there are.

    Without `videos` or `pictures` the alpha of made clips, cut at one half, stands for the masks: enough to see a
    strategy work. Those clips are `masked`'s, of people whose mattes the first pass does not see, or else `maker`'s.
    """

    def __init__(
        self,
        maker: ClipMaker,
        videos: Sequence[MaskClip] = (),
        pictures: Sequence[MaskClip] = (),
        *,
        masked: ClipMaker | None = None,
    ) -> None:
        self._maker, self._masked = maker, masked or maker
        self._videos, self._pictures = videos, pictures

    def matting(self, stage: Stage, number: int) -> Batch:
        return _made(self._maker, stage, number, still=stage.matting == "stills")

    def masked(self, stage: Stage, number: int, *, still: bool) -> Batch:
        footage = self._pictures if still else self._videos
        if not footage:
            made = _made(self._masked, stage, number, still=still)
            return Batch(made.frames, (made.truth > 0.5).float(), made.mask, still)
        dice = Dice(number)
        sampling = Sampling(stage.size, stage.frames, stage.batch, stage.skip)
        frames, truth = sample_masked(footage, sampling, dice, still=still)
        return Batch(frames, truth, given_mask(truth[:, 0], dice), still)


@torch.no_grad()
def _made(maker: ClipMaker, stage: Stage, number: int, *, still: bool) -> Batch:
    height, width = stage.size
    options = ClipOptions(
        height=height,
        width=width,
        frames=stage.frames,
        batch=stage.batch,
        gap=(1, stage.skip),
        cutout=0.0 if still else 0.5,
    )
    maker.restart(number)
    clip = maker.make(options)
    return Batch(clip.frames, clip.alpha, clip.mask, still)
