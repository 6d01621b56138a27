"""A replay pool: most steps get an earlier clip, flipped, reversed, recoloured and noisy again.

Everything is a function of the seeds that are asked for, so a resumed run tells the pool what it had been asked for,
and clips are made again when they are needed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.clips import Clip, ClipOptions
from training.data.dice import Dice
from training.data.masks import given_mask


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A clip as uint8, without its mask: that is made anew from the first alpha."""

    frames: Tensor
    alpha: Tensor
    central: Tensor
    visible: Tensor


@dataclass(slots=True, eq=False)
class _Entry:
    """A clip by its seed, and the clip itself once it has been made."""

    seed: int
    kept: _Kept | None = None


class ReplayPool:
    """Gives clips like `make` does, reusing one of the last `size` of the same options with probability `reuse`.

    `make(options, seed)` is to give the same clip whenever it is asked.
    """

    def __init__(
        self, make: Callable[[ClipOptions, int], Clip], *, dice: Dice, size: int = 100, reuse: float = 0.6
    ) -> None:
        self._make = make
        self._dice = dice
        self._size = size
        self._reuse = reuse
        self._kept: defaultdict[ClipOptions, deque[_Entry]] = defaultdict(deque)
        self._order: deque[ClipOptions] = deque()

    def __len__(self) -> int:
        return len(self._order)

    @torch.no_grad()
    def get(self, options: ClipOptions, seed: int) -> Clip:
        """A clip of these options, new or changed from an earlier one; owned by the caller."""
        entry = self.note(options, seed)
        if entry.seed == seed or entry.kept is None:
            clip = self._make(options, entry.seed)
            entry.kept = _Kept(to_bytes(clip.frames), to_bytes(clip.alpha), clip.central, clip.visible)
        return clip if entry.seed == seed else self._changed(entry.kept, options)

    def note(self, options: ClipOptions, seed: int) -> _Entry:
        """Takes notice that a clip was asked for, and makes none: for what a resumed run had done before."""
        self._dice.restart(seed)
        entries = self._kept[options]
        if entries and bool(self._dice.chance(1, self._reuse)):
            return entries[self._dice.integer(0, len(entries) - 1)]
        entries.append(_Entry(seed))
        self._order.append(options)
        if len(self._order) > self._size:
            self._kept[self._order.popleft()].popleft()
        return entries[-1]

    def _changed(self, kept: _Kept, options: ClipOptions) -> Clip:
        dice, n = self._dice, len(kept.frames)
        reverse = dice.chance(n, 0.5) & kept.visible[:, -1]
        mirror = dice.chance(n, 0.5)
        frames, alpha = (_turned(pixels, reverse, mirror) for pixels in (kept.frames, kept.alpha))
        visible = torch.where(reverse[:, None], kept.visible.flip(1), kept.visible)
        frames = _recoloured(frames.float().mul_(1 / 255), dice)
        alpha = alpha.float().mul_(1 / 255)
        mask = given_mask(alpha[:, 0], dice, rough=options.rough)
        unmasked = kept.central & dice.chance(n, options.no_mask)
        mask = torch.where(unmasked[:, None, None, None], -1.0, mask)
        return Clip(frames, alpha, mask, kept.central, visible)


def _turned(pixels: Tensor, reverse: Tensor, mirror: Tensor) -> Tensor:
    pixels = torch.where(reverse[:, None, None, None, None], pixels.flip(1), pixels)
    return torch.where(mirror[:, None, None, None, None], pixels.flip(-1), pixels)


def _recoloured(frames: Tensor, dice: Dice) -> Tensor:
    """Frames with another gain for each channel, another tone curve and a little more noise."""
    n = len(frames)
    gain = dice.uniform(n, 1, 1, 1, 1, low=0.8, high=1.2) * (1 + dice.normal(n, 1, 3, 1, 1, sigma=0.04))
    frames = frames.mul_(gain).clamp_(0, 1)
    curve = dice.uniform(n, 1, 1, 1, 1, low=-0.4, high=0.4)
    frames = torch.addcmul(frames, curve * frames, 1 - frames)
    sigma = dice.uniform(n, 1, 1, 1, 1) ** 2 * (4 / 255)
    return frames.addcmul_(dice.grain(tuple(frames.shape)), sigma).clamp_(0, 1)


def to_bytes(pixels: Tensor) -> Tensor:
    """uint8 0..255 of float 0..1, rounded."""
    return pixels.mul(255).round_().to(torch.uint8)
