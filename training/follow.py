"""How a trainer runs a network over a clip: one interface, so that one strategy trains lite and MatAnyone alike.

Unlike the runtime the memory holds random earlier frames, so that a network learns to read a bank of any content.
Shapes: B clips, T frames, K maps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Head = Literal["matting", "segmentation"]

REFERENCES = 3
DEEP_UPDATES = 0.2


@dataclass(frozen=True, slots=True)
class Course:
    """What is remembered before each frame of one pass; frame 0 has none."""

    references: tuple[tuple[int, ...], ...]  # the earlier frames in the memory, frame 0 always among them
    deep: tuple[bool, ...]  # whether the frame's value updates the sensory state too
    fused: bool = True  # false: the memory's answer alone, without the last frame's value (ablation)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network says about a clip; frame 0 is its second pass over the frame of the mask."""

    raw: Tensor  # [B,T,1,H,W] the matting head's alpha, not clamped, or the segmentation head's logits
    auxiliary: tuple[Tensor, ...]  # [B,T,K,h,w] each, alphas 0..1 of heads that only training uses
    change: Tensor  # [B,T-1,1,h,w] probability that a cell changed, U


class Follower(Protocol):
    """A network that follows the person of a mask [B,1,H,W] through frames [B,T,3,H,W], sides multiples of 16."""

    @property
    def net(self) -> nn.Module:
        """The network, whose weights a checkpoint holds."""
        ...

    def __call__(self, frames: Tensor, mask: Tensor, course: Course, head: Head) -> Answers:
        """Returns the answers of one head; what is fed back is that head's alpha."""
        ...

    def packed(self, weights: dict[str, Tensor]) -> dict[str, Any]:
        """Returns what a file of these weights of the network holds, in the form that `python -m export` takes."""
        ...

    def change_parameters(self) -> Iterable[nn.Parameter]:
        """Returns the parameters of U, which learn from videos only."""
        ...


def draw_course(frames: int, *, generator: torch.Generator, fused: bool = True) -> Course:
    """Returns a course with up to three references a frame: the first one and random earlier ones."""

    def earlier(frame: int) -> tuple[int, ...]:
        others = torch.randperm(max(0, frame - 1), generator=generator)[: REFERENCES - 1] + 1
        return (0, *sorted(others.tolist())) if frame else ()

    deep = torch.rand(frames, generator=generator) < DEEP_UPDATES
    return Course(tuple(earlier(t) for t in range(frames)), tuple(deep.tolist()), fused)
