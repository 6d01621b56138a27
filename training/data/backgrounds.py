"""Backgrounds of made clips: pictures, plain walls, panoramas seen by a turning camera, and film; still or moving."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.assets import Assets
from training.data.dice import Dice

_KINDS = torch.tensor([0.5, 0.15, 0.22, 0.13])  # picture, plain wall, panorama, film
_PICTURE, _WALL, _PANORAMA, _FILM = range(4)


def backgrounds(
    assets: Assets, dice: Dice, times: Tensor, *, height: int, width: int, still: float, strength: float
) -> tuple[Tensor, Tensor]:
    """RGB float [n, T, H, W] as [n, T, 3, H, W], and bool [n]: the camera and all it sees stand still.

    `times` [n, T] is in frames; `still` is the probability of a still one; `strength` scales camera motion.
    """
    count, frames = times.shape
    moving = ~dice.chance(count, still)
    draw = dice.uniform(count)
    edges = torch.cumsum(_KINDS, 0).to(draw.device)[:-1]
    kind = torch.bucketize(draw, edges)
    kind = torch.where((kind == _FILM) & ~moving, _PICTURE, kind)
    pose = dice.path(count, times, channels=4, slow=0.004, fast=0.025) * moving[:, None, None]
    pose = pose * (dice.uniform(count, low=0.1) * strength)[:, None, None]
    out = torch.empty(count, frames, 3, height, width, device=times.device)
    for part in (_PICTURE, _WALL, _PANORAMA, _FILM):
        for moves in (False, True):
            rows = torch.nonzero((kind == part) & (moving == moves)).flatten()
            if len(rows) == 0:
                continue
            seen = pose[rows] if moves else pose[rows, :1]
            if part == _PANORAMA:
                made = _panorama(assets, dice, seen, height, width)
            elif part == _FILM:
                made = _film(assets, dice, seen, times[rows], height, width)
            else:
                made = _picture(assets, dice, seen, height, width, plain=1.0 if part == _WALL else 0.0)
            out[rows] = made
    return out.clamp_(0, 1), ~moving


def _picture(assets: Assets, dice: Dice, pose: Tensor, height: int, width: int, *, plain: float) -> Tensor:
    rows = dice.integers(len(pose), low=0, high=len(assets.backgrounds) - 1)
    texture = assets.backgrounds[rows].float().mul_(1 / 255)
    if height <= 160:
        texture = F.avg_pool2d(texture, 2)
    texture = _recolour(_soften(dice, texture, plain), dice)
    grid = _window(dice, pose, texture.shape[-1] / texture.shape[-2], height, width)
    return _through(texture, grid)


def _film(assets: Assets, dice: Dice, pose: Tensor, times: Tensor, height: int, width: int) -> Tensor:
    n, frames = times.shape
    span = assets.video_spans[dice.integers(n, low=0, high=len(assets.video_spans) - 1)]
    rows = play(dice, span, times, pace=0.5)
    texture = assets.videos[rows].float().mul_(1 / 255)
    grid = _window(dice, pose, texture.shape[-1] / texture.shape[-2], height, width)
    seen = F.grid_sample(texture.flatten(0, 1), grid.flatten(0, 1), padding_mode="reflection", align_corners=False)
    return _recolour(seen.reshape(n, frames * 3, height, width), dice).reshape(n, frames, 3, height, width)


def play(dice: Dice, span: Tensor, times: Tensor, *, pace: float = 1.0) -> Tensor:
    """Frame numbers [n, T] of clips with `span` [n, 2] (first frame, length), to and fro from a random start."""
    length = span[:, 1:].to(torch.float32)
    place = dice.uniform(len(span), 1) * length + times * pace * dice.sign(len(span))[:, None]
    turn = torch.remainder(place, 2 * length)
    index = torch.minimum(turn, 2 * length - turn).long()
    return span[:, :1] + torch.minimum(index, span[:, 1:] - 1)


def _window(dice: Dice, pose: Tensor, texture_aspect: float, height: int, width: int) -> Tensor:
    """A moving view into a texture, no side stretched: [n, T, H, W, 2]."""
    n = len(pose)
    aspect = width / height
    zoom = dice.uniform(n, low=0.6, high=1.0)[:, None] * (1 + 0.12 * pose[..., 2])
    half_y = zoom * min(1.0, texture_aspect / aspect)
    half_x = half_y * aspect / texture_aspect
    x = dice.uniform(n, 1, low=-1) * (1 - half_x) + 0.25 * pose[..., 0]
    y = dice.uniform(n, 1, low=-1) * (1 - half_y) + 0.12 * pose[..., 1]
    turn = 0.05 * pose[..., 3] + dice.normal(n, 1, sigma=0.01)
    mirror = dice.sign(n)[:, None]
    gx = ((torch.arange(width, device=pose.device) + 0.5) / width * 2 - 1).expand(height, width)
    gy = ((torch.arange(height, device=pose.device) + 0.5) / height * 2 - 1)[:, None].expand(height, width)
    sine = torch.sin(turn)[..., None, None]
    u = mirror[..., None, None] * half_x[..., None, None] * (gx - sine * gy / aspect) + x[..., None, None]
    v = half_y[..., None, None] * (gy + sine * gx * aspect) + y[..., None, None]
    return torch.stack([u, v], -1)


def _panorama(assets: Assets, dice: Dice, pose: Tensor, height: int, width: int) -> Tensor:
    """A camera that turns about its own centre in a 360 degree picture: true perspective motion."""
    n = len(pose)
    texture = assets.panoramas[dice.integers(n, low=0, high=len(assets.panoramas) - 1)].float().mul_(1 / 255)
    texture = _recolour(_soften(dice, texture, 0.0), dice)
    zoom = dice.uniform(n, low=0.35, high=0.7)[:, None, None, None] * (1 + 0.1 * pose[..., 2])[..., None, None]
    x = ((torch.arange(width, device=pose.device) + 0.5) / width * 2 - 1).expand(height, width) * zoom * width / height
    y = ((torch.arange(height, device=pose.device) + 0.5) / height * 2 - 1)[:, None].expand(height, width) * zoom
    pitch = (dice.normal(n, 1, sigma=0.08) + 0.12 * pose[..., 1])[..., None, None]
    yaw = (dice.uniform(n, 1, high=2 * math.pi) + 0.5 * pose[..., 0])[..., None, None]
    cosine, sine = torch.cos(pitch), torch.sin(pitch)
    down, ahead = y * cosine + sine, cosine - y * sine
    longitude = torch.atan2(x, ahead) + yaw
    latitude = torch.atan2(down, torch.sqrt(x * x + ahead * ahead))
    u = torch.remainder(longitude / math.pi + 1, 2) - 1
    return _through(texture, torch.stack([u, latitude * (2 / math.pi)], -1))


def _through(texture: Tensor, grid: Tensor) -> Tensor:
    n, frames, height, width = grid.shape[:4]
    tall = grid.reshape(n, frames * height, width, 2)
    seen = F.grid_sample(texture, tall, padding_mode="reflection", align_corners=False)
    return seen.reshape(n, 3, frames, height, width).transpose(1, 2)


def _soften(dice: Dice, texture: Tensor, plain: float) -> Tensor:
    """Backgrounds out of focus (a quarter of them), or nearly plain walls lit unevenly."""
    n = len(texture)
    size = (texture.shape[-2], texture.shape[-1])
    if plain > 0:
        wall = F.interpolate(F.adaptive_avg_pool2d(texture, (2, 3)), size, mode="bilinear")
        return wall + 0.06 * dice.uniform(n, 1, 1, 1) * (texture - texture.mean((-2, -1), keepdim=True))
    factor = (4, 6, 10)[dice.integer(0, 2)]
    blurred = F.interpolate(F.avg_pool2d(texture, factor), size, mode="bilinear")
    return torch.lerp(texture, blurred, dice.chance(n, 0.25).float()[:, None, None, None])


def _recolour(texture: Tensor, dice: Dice) -> Tensor:
    """Brightness, contrast and colour of its own for each background [n, 3k, h, w]."""
    n, planes = texture.shape[:2]
    gain = dice.uniform(n, 1, low=0.6, high=1.25) * (1 + dice.normal(n, 3, sigma=0.05))
    gain = gain.repeat(1, planes // 3)[..., None, None]
    lift = dice.uniform(n, 1, 1, 1, low=-0.05, high=0.12)
    return (texture * gain + lift).clamp_(0, 1)
