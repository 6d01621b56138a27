"""Placing and moving cut-outs in a frame: framing like a webcam's, bounded smooth motion, a gently bending body.

Shapes: n clips, T frames, S sprite size. Lengths are in frame heights; x is 0 in the middle,
y is 0 at the top and 1 at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.dice import Dice

_PIVOT = 0.7  # row of the sprite that rotation and scale turn about
_NODE_GAP = 0.25  # spacing of the bending grid
_SMALL_SPRITE_UP_TO = 150  # frame rows for which half-size sprites are sharp enough


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a cut-out is in each frame: all [n, T] but `stretch`, `flip` [n] and `nodes` [n, T, 2, rows, columns]."""

    x: Tensor
    y: Tensor
    scale: Tensor
    angle: Tensor
    stretch: Tensor
    flip: Tensor
    nodes: Tensor

    def moved(self, x: Tensor, y: Tensor) -> Placement:
        """The same, shifted sideways by `x` and downwards by `y`, both [n, T]."""
        return Placement(self.x + x, self.y + y, self.scale, self.angle, self.stretch, self.flip, self.nodes)


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """How a seated person stands in the frame, [n] each: head's top, head to lower edge of the cut-out, middle."""

    head: Tensor
    height: Tensor
    x: Tensor


def webcam_framing(dice: Dice, count: int, aspect: float, whole: Tensor) -> Framing:
    """Framings of a webcam's user: mostly central, 15 % with the head cut. Of those who are `whole` [n] all there is of
    the body is shown, so that what cut-outs have at their lower end is seen and carried on; others are cut above it.
    """
    cut = dice.chance(count, 0.15)
    head = torch.where(cut, dice.uniform(count, low=-0.22, high=0.0), dice.uniform(count, low=0.02, high=0.35))
    height = torch.maximum(dice.uniform(count, low=0.8, high=1.8), 1.1 - head)
    height = torch.where(whole, dice.uniform(count, low=0.93, high=1.05) - head, height)
    aside = dice.chance(count, 0.25)
    x = torch.where(aside, dice.uniform(count, low=-0.4, high=0.4), dice.normal(count, sigma=0.1).clamp(-0.3, 0.3))
    return Framing(head, height, x * aspect)


def background_framing(dice: Dice, count: int, aspect: float, beside: Framing) -> Framing:
    """Framings of somebody further back or beside, away from the first person, never with a floating lower edge."""
    size = dice.uniform(count, low=0.55, high=1.0)
    height = beside.height * size
    head = torch.maximum(beside.head + (1 - size) * dice.uniform(count, low=0.0, high=0.6), 1.08 - height)
    distance = dice.uniform(count, low=0.18, high=0.55) * aspect
    side = torch.where(dice.chance(count, 0.75), -torch.sign(beside.x + 1e-6), torch.sign(beside.x + 1e-6))
    return Framing(
        head, torch.maximum(height, 1.1 - head), (beside.x + side * distance).clamp(-0.55 * aspect, 0.55 * aspect)
    )


def twin_framings(dice: Dice, count: int, aspect: float) -> tuple[Framing, Framing]:
    """Two people side by side, of the same size; either may be the left one."""
    head = dice.uniform(count, low=0.02, high=0.35)
    height = torch.maximum(dice.uniform(count, low=0.8, high=1.4), 1.1 - head)
    middle = dice.normal(count, sigma=0.05) * aspect
    half = dice.uniform(count, low=0.16, high=0.3) * aspect * dice.sign(count)
    wobble = dice.uniform(count, low=0.93, high=1.07)
    other = (head + dice.normal(count, sigma=0.03)).clamp(0.0, 0.4)
    other_height = torch.maximum(height * wobble, 1.1 - other)
    return Framing(head, height, middle + half), Framing(other, other_height, middle - half)


def move(dice: Dice, framing: Framing, top: Tensor, times: Tensor, *, aspect: float, strength: float) -> Placement:
    """A moving placement of sprites with head tops `top` [n], at `times` [n, T] in frames.

    A third of the people hardly move; `strength` scales all motion.
    """
    count = framing.x.shape[0]
    vigour = (dice.uniform(count, low=0.1) ** 1.5 * 1.7 * strength)[:, None]
    scale = framing.height / (1 - top)
    pivot_y = framing.head + scale * (_PIVOT - top)
    path = dice.path(count, times, channels=4) * vigour[:, :, None]
    amount = dice.uniform(count, 4) * torch.tensor([0.16, 0.05, 0.13, 0.10], device=dice.device)
    shift = path * amount[:, None]
    size = scale[:, None] * torch.exp(shift[:, :, 3])
    rows = round(1 / _NODE_GAP) + 4
    columns = max(round(aspect / _NODE_GAP), 2) + 4
    bend = dice.path(count, times, channels=2 * rows * columns, slow=0.01, fast=0.06)
    bend = bend * 0.05 * vigour[:, :, None] + dice.normal(count, 1, 2 * rows * columns, sigma=0.008)
    return Placement(
        x=framing.x[:, None] + shift[:, :, 0] * aspect**0.5,
        y=pivot_y[:, None] + shift[:, :, 1],
        scale=size,
        angle=shift[:, :, 2] + dice.normal(count, 1, sigma=0.02),
        stretch=dice.uniform(count, low=0.9, high=1.2),
        flip=dice.sign(count),
        nodes=bend.reshape(count, times.shape[1], 2, rows, columns),
    )


def departure(dice: Dice, count: int, frames: int, aspect: float) -> Tensor:
    """Sideways shift [n, T] of people who walk out of the frame after its first picture and come back."""
    if frames < 2:
        return torch.zeros(count, frames, device=dice.device)
    longest = max(frames - 2, 1)
    away = dice.integers(count, low=1, high=min(8, longest))
    start = 1 + (dice.uniform(count) * (frames - 1 - away).clamp(min=1)).floor()
    walk = torch.minimum(dice.uniform(count, low=1.0, high=4.0), start)[:, None]  # the first picture shows the person
    time = torch.arange(frames, device=dice.device, dtype=torch.float32)
    out = _ease((time - start[:, None] + walk) / walk)
    back = _ease((time - (start + away - 1)[:, None]) / walk)
    return (out - back) * dice.sign(count)[:, None] * (aspect / 2 + 1.1)


def arrival(dice: Dice, thing: Placement, aspect: float, enters: Tensor) -> Placement:
    """`thing`, but in the rows `enters` [n] it comes in after the first frame, from the nearer side or from below."""
    count, frames = thing.x.shape
    start = (dice.uniform(count) * max(frames - 2, 0)).floor()
    walk = dice.uniform(count, low=1.0, high=4.0)
    time = torch.arange(frames, device=dice.device, dtype=torch.float32)
    away = (1 - _ease((time - start[:, None]) / walk[:, None])) * enters[:, None]
    below = dice.chance(count, 0.4)[:, None]
    size = thing.scale[:, :1]  # out of sight is what has its middle that far outside
    sideways = torch.sign(thing.x[:, :1]) * (aspect / 2 + size)
    return thing.moved(away * ~below * sideways, away * below * (1 + size))


def rising(dice: Dice, count: int, frames: int) -> Tensor:
    """Shift [n, T] of people of whom a quarter straighten up during the clip, or sink, so that more or less is seen."""
    ramp = _ease(torch.linspace(0, 1, frames, device=dice.device))
    far = dice.chance(count, 0.25) * dice.uniform(count, low=-0.16, high=0.05)
    return far[:, None] * ramp


def _ease(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def sprite_grid(placement: Placement, height: int, width: int, *, grounded: bool = True) -> Tensor:
    """Where each pixel looks in its sprite: [n, T, H, W, 2] for `grid_sample`.

    `grounded` carries the lowest row on downwards, so that a body never ends above the frame's lower edge.
    """
    device = placement.x.device
    aspect = width / height
    x = ((torch.arange(width, device=device) + 0.5) / width - 0.5) * aspect
    y = (torch.arange(height, device=device) + 0.5) / height
    rows, columns = placement.nodes.shape[-2:]
    bend = _spline(height, rows, device) @ placement.nodes @ _spline(width, columns, device).T  # [n, T, 2, H, W]
    dx = x - placement.x[..., None]
    dy = y - placement.y[..., None]
    cosine, sine = torch.cos(placement.angle) / placement.scale, torch.sin(placement.angle) / placement.scale
    across = 2 * placement.flip / placement.stretch
    u = (across[:, None] * cosine)[..., None] * dx
    u = u[:, :, None, :] + ((across[:, None] * sine)[..., None] * dy)[..., None]
    v = (-2 * sine[..., None] * dx)[:, :, None, :] + (2 * cosine[..., None] * dy + 2 * _PIVOT - 1)[..., None]
    grid = torch.stack([u, v], -1).add_(bend.movedim(2, -1))
    if grounded:
        grid[..., 1].clamp_(max=0.985)
    return grid


def sample(sprites: Tensor, grid: Tensor) -> Tensor:
    """Sprites [n, K, 4, s, s] (K is 1 or T) seen through `grid` [n, T, H, W, 2]: RGBA [n, T, 4, H, W]."""
    n, frames, height, width = grid.shape[:4]
    if sprites.shape[1] == 1:
        tall = grid.reshape(n, frames * height, width, 2)
        seen = F.grid_sample(sprites[:, 0], tall, align_corners=False)
        return seen.reshape(n, 4, frames, height, width).transpose(1, 2)
    seen = F.grid_sample(sprites.flatten(0, 1), grid.flatten(0, 1), align_corners=False)
    return seen.reshape(n, frames, 4, height, width)


def over(front: Tensor, back: Tensor) -> Tensor:
    """RGB `back` [n, T, 3, H, W] with RGBA `front` laid over it."""
    return torch.lerp(back, front[:, :, :3], front[:, :, 3:])


def sprite_level(height: int) -> int:
    """0 for full sprites, 1 for half size: what a frame of `height` rows shows without aliasing or blur."""
    return 1 if height <= _SMALL_SPRITE_UP_TO else 0


def _spline(samples: int, nodes: int, device: torch.device) -> Tensor:
    """Uniform cubic B-spline weights [samples, nodes] from nodes that reach beyond both ends."""
    place = (torch.arange(samples, device=device) + 0.5) / samples * (nodes - 3) + 1
    distance = (place[:, None] - torch.arange(nodes, device=device)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def reaching_in(dice: Dice, top: Tensor, times: Tensor, *, aspect: float, strength: float) -> Placement:
    """Somebody in front, mostly outside the frame: a shoulder, an arm or a hand comes in from a side."""
    count = len(top)
    side = dice.sign(count)
    height = dice.uniform(count, low=1.0, high=2.2)
    x = side * (aspect / 2 + height * dice.uniform(count, low=0.08, high=0.34))
    framing = Framing(dice.uniform(count, low=-0.3, high=0.5), height, x)
    place = move(dice, framing, top, times, aspect=aspect, strength=1.6 * strength)
    lean = side * dice.uniform(count, low=-0.1, high=0.5)
    return Placement(place.x, place.y, place.scale, place.angle + lean[:, None], place.stretch, place.flip, place.nodes)


def held_thing(dice: Dice, times: Tensor, *, aspect: float, strength: float) -> Placement:
    """A thing of 0.15-0.6 frame heights in front, moving through a large part of the frame."""
    count, frames = times.shape
    path = dice.path(count, times, channels=3, slow=0.01, fast=0.07) * strength
    scale = dice.uniform(count, 1, low=0.2, high=0.75)
    x = dice.normal(count, 1, sigma=0.18) * aspect + path[..., 0] * dice.uniform(count, 1, high=0.5) * aspect
    y = dice.uniform(count, 1, low=0.35, high=1.05) + path[..., 1] * dice.uniform(count, 1, high=0.4)
    return Placement(
        x=x,
        y=y + (_PIVOT - 0.5) * scale,
        scale=scale.expand(count, frames),
        angle=dice.uniform(count, 1, low=-3.1, high=3.1) + 0.5 * path[..., 2],
        stretch=dice.uniform(count, low=0.6, high=1.5),
        flip=dice.sign(count),
        nodes=torch.zeros(count, frames, 2, 5, 5, device=times.device),
    )


def spot_on(dice: Dice, person: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """A random spot [n, 2] (x, y) on each person of one RGBA frame [n, 4, H, W], and the colour [n, 3] there."""
    thin = F.avg_pool2d(person, 8, ceil_mode=True)
    height, width = thin.shape[-2:]
    weight = thin[:, 3].flatten(1)
    nth = dice.uniform(len(person), 1) * weight.sum(1, keepdim=True)
    chosen = (weight.cumsum(1) < nth).sum(1).clamp(max=height * width - 1)
    x = ((chosen % width + 0.5) / width - 0.5) * aspect
    y = (chosen // width + 0.5) / height
    colour = thin[:, :3].flatten(2).gather(2, chosen.view(-1, 1, 1).expand(-1, 3, 1))[:, :, 0]
    return torch.stack([x, y], 1), colour


def resting(thing: Placement, person: Placement, spot: Tensor, rests: Tensor) -> Placement:
    """`thing`, but in the rows `rests` [n] it lies at `spot` [n, 2] of the first frame and goes where its person does.

    It slips there by a third of what it would have moved by itself.
    """

    def gone(place: Tensor) -> Tensor:
        return place - place[:, :1]

    def either(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(rests[:, None], one, other)

    x = spot[:, :1] + gone(person.x) + gone(thing.x) / 3
    y = spot[:, 1:] + gone(person.y) + gone(thing.y) / 3 + (_PIVOT - 0.5) * thing.scale
    return replace(thing, x=either(x, thing.x), y=either(y, thing.y))
