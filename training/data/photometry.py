"""Light and camera: fitting a cut-out to its background, then exposure, blur, noise, sharpening and JPEG.

Shapes: n clips, T frames. One set of parameters a clip, fresh noise a frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.dice import Dice
from training.data.jpeg import jpeg

_NECK = 0.26  # below this share of head-to-bottom a sprite is clothes, hands and arms


def clothes_matrix(dice: Dice, count: int) -> Tensor:
    """[n, 3, 3] colour matrices for clothes: a hue turn, another brightness; the identity for three quarters."""
    angle = dice.uniform(count, high=6.2832)
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    mean = torch.full((3, 3), 1 / 3, device=dice.device)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=dice.device) / 3**0.5
    identity = torch.eye(3, device=dice.device)
    turn = cosine * identity + (1 - cosine) * mean + sine * cross  # rotation about the grey axis
    saturation = dice.uniform(count, 1, 1, low=0.6, high=2.0)
    turn = (saturation * identity + (1 - saturation) * mean) @ turn
    turn = turn * dice.uniform(count, 1, 1, low=0.35, high=1.2)
    return torch.where(dice.chance(count, 0.25)[:, None, None], turn, identity)


def dress(sprites: Tensor, top: Tensor, clothes: Tensor) -> Tensor:
    """Sprites [n, K, 4, s, s] with `clothes` [n, 3, 3] applied below the neck to what has not the colour of skin."""
    rows = torch.nonzero((clothes != torch.eye(3, device=clothes.device)).any(2).any(1)).flatten()
    if len(rows) == 0:
        return sprites
    rgb = sprites[rows, :, :3]
    row = (torch.arange(sprites.shape[-2], device=sprites.device) + 0.5) / sprites.shape[-2]
    start = top[rows, None]
    body = (((row - start) / (1 - start) - _NECK) * 30).clamp(0, 1)
    weight = body[:, None, :, None] * (1 - _skin(rgb))
    changed = torch.einsum("nij,nkjhw->nkihw", clothes[rows], rgb)
    sprites = sprites.clone()
    sprites[rows, :, :3] = torch.lerp(rgb, changed, weight[:, :, None]).clamp_(0, 1)
    return sprites


def trousers(sprites: Tensor, dice: Dice) -> Tensor:
    """Sprites with, in a quarter of them, cloth of another colour below a hem, whose folds are those of the picture."""
    rows = torch.nonzero(dice.chance(len(sprites), 0.25)).flatten()
    n, size = len(rows), sprites.shape[-1]
    place = (torch.arange(size, device=sprites.device) + 0.5) / size
    hem = dice.uniform(n, 1, low=0.7, high=0.97) + dice.normal(n, 1, sigma=0.04) * (place - 0.5)
    return _below(sprites, rows, hem[:, None], dice)


def lifted_hem(people: Tensor, dice: Dice) -> Tensor:
    """RGBA [n, T, 4, H, W] where, in half of them, a hem rises into view at the lower edge as when arms are raised.

    What it shows was in no mask and in no frame before, and belongs to the person.
    """
    rows = torch.nonzero(dice.chance(len(people), 0.5)).flatten()
    n, frames, width = len(rows), people.shape[1], people.shape[-1]
    begin, end = dice.uniform(n, 1, low=-0.3, high=0.7), dice.uniform(n, 1, low=0.1, high=0.6)
    ramp = ((torch.linspace(0, 1, frames, device=people.device) - begin) / end).clamp(0, 1)
    rise = dice.uniform(n, 1) ** 1.5 * 0.25
    across = torch.linspace(-0.5, 0.5, width, device=people.device)
    slope = dice.normal(n, 1, 1, sigma=0.04) * across
    return _below(people, rows, (1.0 - rise * ramp)[:, :, None] + slope, dice)


def _below(pictures: Tensor, rows: Tensor, hem: Tensor, dice: Dice) -> Tensor:
    """Pictures [n, K, 4, h, w] with another cloth below `hem` [rows, K, w], in its shadow, but for skin.

    In half of them that cloth is a little narrower than what hangs over it.
    """
    if len(rows) == 0:
        return pictures
    n, height = len(rows), pictures.shape[-2]
    rgb = pictures[rows, :, :3]
    place = (torch.arange(height, device=pictures.device) + 0.5) / height
    below = ((place[:, None] - hem[:, :, None]) * height / 2).clamp(0, 1)
    colour = dice.uniform(n, 1, 3, 1, 1, low=0.02, high=0.6) * dice.uniform(n, 1, 1, 1, 1, low=0.2)
    cloth = colour * torch.lerp(
        torch.ones_like(rgb[:, :, :1]), 0.5 + rgb.mean(2, keepdim=True), dice.uniform(n, 1, 1, 1, 1)
    )
    deep = dice.uniform(n, 1, 1, 1, low=0.005, high=0.05)  # how far down the hem throws its shadow
    shade = torch.exp((hem[:, :, None] - place[:, None]).clamp(max=0) / deep) * dice.uniform(n, 1, 1, 1, high=0.9)
    cloth = cloth * (1 - shade)[:, :, None]
    weight = (below * (1 - _skin(rgb)))[:, :, None]
    pictures = pictures.clone()
    pictures[rows, :, :3] = torch.lerp(rgb, cloth, weight).clamp_(0, 1)
    alpha = pictures[rows, :, 3:]
    inset = dice.chance(n, 0.5) * dice.uniform(n) ** 1.5 * 0.14
    pictures[rows, :, 3:] = torch.lerp(alpha, torch.minimum(alpha, _slimmer(alpha, below, inset)), weight)
    return pictures


def _slimmer(alpha: Tensor, below: Tensor, inset: Tensor) -> Tensor:
    """Alpha [n, K, 1, h, w] drawn in sideways, by `inset` [n] of its width, about the middle of what is `below`."""
    n, count, _, height, width = alpha.shape
    across = torch.linspace(-1, 1, width, device=alpha.device)
    shown = alpha[:, :, 0] * below
    middle = (shown * across).sum((2, 3)) / shown.sum((2, 3)).clamp(min=1e-3)
    x = middle[:, :, None] + (across - middle[:, :, None]) / (1 - inset)[:, None, None]
    y = torch.linspace(-1, 1, height, device=alpha.device)
    grid = torch.stack([x[:, :, None, :].expand(-1, -1, height, -1), y[:, None].expand(n, count, -1, width)], -1)
    return F.grid_sample(alpha.flatten(0, 1), grid.flatten(0, 1), align_corners=True).reshape(alpha.shape)


def _skin(rgb: Tensor) -> Tensor:
    """How much each pixel of [n, K, 3, h, w] has the colour of skin, [n, K, h, w] in 0..1."""
    red, green, blue = rgb.unbind(2)
    return ((red - blue - 0.08) * 8).clamp(0, 1) * ((red - green) * 12).clamp(0, 1) * ((red - 0.3) * 6).clamp(0, 1)


def harmonise(sprites: Tensor, scene: Tensor, dice: Dice) -> Tensor:
    """Sprites with mean and spread pulled some way to those of `scene` [n, T, 3, H, W], and a tone curve."""
    n = len(sprites)
    scene_mean, scene_std = _moments(scene[:, 0, :, ::4, ::4], torch.ones_like(scene[:, 0, :1, ::4, ::4]))
    thin = sprites[:, 0, :, ::4, ::4]
    mean, std = _moments(thin[:, :3], thin[:, 3:])
    pull = dice.uniform(n, 1) ** 2 * 0.6
    ratio = torch.lerp(torch.ones_like(std), (scene_std / std.clamp(min=0.05)).clamp(0.6, 1.5), pull * 0.7)
    target = torch.lerp(mean, scene_mean.clamp(0.12, 0.85), pull)
    gain = ratio * (1 + dice.normal(n, 3, sigma=0.03))
    curve = dice.normal(n, 1, sigma=0.25).clamp(-0.6, 0.5)
    shape = (n, 1, 3, 1, 1)
    rgb = (sprites[:, :, :3] - mean.reshape(shape)) * gain.reshape(shape) + target.reshape(shape)
    rgb = rgb.clamp_(0, 1)
    rgb = rgb + curve.reshape(n, 1, 1, 1, 1) * rgb * (1 - rgb)
    return torch.cat([rgb, sprites[:, :, 3:]], 2)


def coloured(sprites: Tensor, colour: Tensor, dice: Dice) -> Tensor:
    """Sprites [n, K, 4, s, s] with most of their own colours lost to about `colour` [n, 3], in another light."""
    n = len(sprites)
    near = (colour * dice.uniform(n, 1, low=0.6, high=1.4) + dice.normal(n, 3, sigma=0.05)).clamp(0, 1)
    weight = dice.uniform(n, 1, 1, 1, 1, low=0.5)
    return torch.cat([torch.lerp(sprites[:, :, :3], near.reshape(n, 1, 3, 1, 1), weight), sprites[:, :, 3:]], 2)


def _moments(rgb: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread [n, 3] of RGB [n, 3, h, w] under a weight [n, 1, h, w]."""
    total = weight.sum((-2, -1)).clamp(min=1e-3)
    mean = (rgb * weight).sum((-2, -1)) / total
    variance = ((rgb - mean[..., None, None]) ** 2 * weight).sum((-2, -1)) / total
    return mean, variance.clamp(min=0).sqrt()


def soft_presence(alpha: Tensor, factor: int = 8) -> Tensor:
    """`alpha` [n, T, 1, H, W] blurred widely: for shadows and light that wraps round an outline."""
    flat = alpha.flatten(0, 1)
    size = (alpha.shape[-2], alpha.shape[-1])
    coarse = F.avg_pool2d(F.avg_pool2d(flat, factor, ceil_mode=True), 3, 1, 1, count_include_pad=False)
    return F.interpolate(coarse, size, mode="bilinear").reshape(alpha.shape)


def light(frames: Tensor, times: Tensor, dice: Dice, strength: float) -> Tensor:
    """Tone curve (as gamma 0.75-1.3), exposure drift, and sometimes a dark room, flat contrast or coloured light."""
    n = len(frames)
    one = torch.ones(n, 1, device=frames.device)
    coloured = dice.uniform(n, 3, low=0.5, high=1.25)
    gain = torch.where(dice.chance(n, 0.12)[:, None], coloured, 1 + dice.normal(n, 3, sigma=0.03))
    gain = gain * torch.where(dice.chance(n, 0.15)[:, None], dice.uniform(n, 1, low=0.15, high=0.5), one)
    contrast = torch.where(dice.chance(n, 0.12)[:, None], dice.uniform(n, 1, low=0.35, high=0.7), one)
    lift = (1 - contrast) * dice.uniform(n, 1, low=0.1, high=0.6) * strength
    drift = dice.path(n, times, channels=1) * (dice.uniform(n, 1, 1) ** 3 * 0.25)
    per_frame = 1 + strength * (torch.exp(drift) * (contrast * gain)[:, None] - 1)
    frames = torch.addcmul(lift[..., None, None, None], frames, per_frame[..., None, None]).clamp_(0, 1)
    curve = dice.uniform(n, 1, 1, 1, 1, low=-0.5, high=0.5) * strength
    return torch.addcmul(frames, curve * frames, 1 - frames)


def camera(frames: Tensor, dice: Dice, strength: float) -> Tensor:
    """Frames as a cheap camera sends them: defocus, sensor noise, denoising or sharpening halos, JPEG."""
    if strength <= 0:
        return frames
    n, t = frames.shape[:2]
    frames = _blurred(frames, dice.chance(n, 0.2) * dice.uniform(n, low=0.4))
    sigma = dice.uniform(n, 1, 1, 1, 1) ** 1.5 * (7 / 255) * strength
    frames = torch.addcmul(frames, dice.grain(tuple(frames.shape)), sigma)
    denoised = dice.chance(n, 0.35) * dice.uniform(n, low=0.4, high=0.9)  # leaves noise that is correlated
    halo = dice.chance(n, 0.4) * dice.uniform(n, low=-1.0, high=-0.2)
    frames = _blurred(frames, torch.where(denoised > 0, denoised, halo) * strength)
    quality = dice.uniform(n, low=35, high=95).repeat_interleave(t)
    return jpeg(frames.flatten(0, 1).clamp_(0, 1), quality).reshape(frames.shape)


def _blurred(frames: Tensor, amount: Tensor) -> Tensor:
    """Frames [n, T, 3, H, W] moved toward their blur by `amount` [n]; below 0 sharpens. Zero costs nothing."""
    rows = torch.nonzero(amount).flatten()
    if len(rows) == 0:
        return frames
    part = frames[rows]
    soft = blur(part.flatten(0, 1)).reshape(part.shape)
    return frames.index_copy(0, rows, torch.lerp(part, soft, amount[rows].reshape(-1, 1, 1, 1, 1)))


def blur(pictures: Tensor) -> Tensor:
    """Pictures [n, c, h, w] under a binomial 5x5 kernel (sigma 1), summed from shifted copies for speed."""
    padded = F.pad(pictures, (2, 2, 2, 2), mode="replicate")
    for side in (-1, -2):
        for _ in range(2):  # 1 2 1 twice is 1 4 6 4 1
            size = padded.shape[side] - 2
            middle = padded.narrow(side, 1, size)
            padded = (padded.narrow(side, 0, size) + padded.narrow(side, 2, size)).mul_(0.25).add_(middle, alpha=0.5)
    return padded
