"""Random numbers for made clips: drawn on the CPU from one seed, so that every device gets the same parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dice:
    """Seeded draws, returned on `device`."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._generator = torch.Generator()
        self._pixels = torch.Generator(self.device)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Draws from now on as new dice of that seed do."""
        self._generator.manual_seed(seed)
        self._pixels.manual_seed(seed + 1)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Float32 [*shape], evenly spread in [low, high)."""
        return (torch.rand(shape, generator=self._generator) * (high - low) + low).to(self.device)

    def normal(self, *shape: int, sigma: float = 1.0) -> Tensor:
        """Float32 [*shape], normal, cut at three sigma so that no path leaves its bounds."""
        draw = torch.randn(shape, generator=self._generator).clamp_(-3.0, 3.0)
        return (draw * sigma).to(self.device)

    def chance(self, count: int, probability: float) -> Tensor:
        """Bool [count], true with `probability`."""
        return (torch.rand(count, generator=self._generator) < probability).to(self.device)

    def sign(self, count: int) -> Tensor:
        """Float32 [count] of -1 and 1."""
        return torch.where(self.chance(count, 0.5), 1.0, -1.0)

    def integers(self, *shape: int, low: int, high: int) -> Tensor:
        """Int64 [*shape] in [low, high], both included."""
        return torch.randint(low, high + 1, shape, generator=self._generator).to(self.device)

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high], both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def grain(self, shape: tuple[int, ...]) -> Tensor:
        """Float32 normal noise made on the device itself, for whole pictures."""
        return torch.randn(shape, generator=self._pixels, device=self.device)

    def path(self, count: int, times: Tensor, *, channels: int, slow: float = 0.008, fast: float = 0.05) -> Tensor:
        """A smooth bounded motion [count, T, channels] within about -1..1: three sinusoids a channel.

        `times` [count, T] in frames; `slow` and `fast` are cycles a frame. It never drifts away, unlike a random walk.
        """
        waves = 3
        frequency = self.uniform(count, 1, channels, waves) * (fast - slow) + slow
        phase = self.uniform(count, 1, channels, waves, high=2 * math.pi)
        weight = self.uniform(count, 1, channels, waves, low=0.2) / frequency.sqrt()
        wave = torch.sin(2 * math.pi * frequency * times[:, :, None, None] + phase)
        return torch.sum(weight * wave, -1) / torch.sum(weight, -1)
