"""Core supervision (MatAnyone, Yang et al., CVPR 2025, section 3.3): a matting head learns from segmentation masks.

Away from the outline a mask is as good as a matte: plain L1. In the band around it the picture tells how alpha changes:
the DDC loss, scaled by how far foreground and background differ there.
Shapes: B clips, T frames, N pixels of a band, W = 121 pixels of a window, K = 11 chosen ones. Everything is 0..1.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Consistency = Literal["scaled ddc", "ddc"]

WINDOW = 11
NEAREST = 11  # pixels of the window that a pixel is compared with, itself among them
EXTREMES = 11  # brightest and darkest pixels of the window whose means stand for F and B
BOUNDARY_WEIGHT = 1.5
FIRST_FRAME = 5.0
LUMINANCE = (0.299, 0.587, 0.114)
_SMALLEST, _LARGEST = 9, 21  # kernel of the trimap


class Pixels(NamedTuple):
    """Places in a batch, int64 [N] each: frame of B*T, row, column."""

    frame: Tensor
    y: Tensor
    x: Tensor


@torch.no_grad()
def trimap(mask: Tensor) -> Tensor:
    """Returns 0, 0.5 (the band of the outline) or 1 for every pixel of a 0/1 mask [B,T,1,H,W].

    The band is what a square of clip(sqrt(area) / 10, 9, 21) pixels, made odd, dilates but does not keep when it
    erodes; the area is the frame's own. The edge of the picture is no outline.
    """
    inside = (mask > 0.5).float().flatten(0, 1)
    side = (0.1 * inside.sum((1, 2, 3)).sqrt()).floor().clamp(_SMALLEST, _LARGEST)
    radius = torch.div(side, 2, rounding_mode="floor").reshape(-1, 1, 1, 1)  # an even side becomes the next odd one
    wide, narrow, band = inside, inside, torch.zeros_like(inside)
    for step in range(1, _LARGEST // 2 + 1):  # a square of 2n+1 is n times one of 3
        wide, narrow = F.max_pool2d(wide, 3, 1, 1), -F.max_pool2d(-narrow, 3, 1, 1)
        band = torch.where(radius == step, wide - narrow, band)
    return torch.where(band > 0, 0.5, inside).view_as(mask)


def core(alpha: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Returns the mean of |alpha - mask| over the pixels where `known` [B,T,1,H,W] is true, the first frame's 5 times.

    A batch that has no such pixel gives 0.
    """
    weight = known.to(alpha.dtype)
    frame = torch.ones(alpha.shape[1], 1, 1, 1, dtype=alpha.dtype, device=alpha.device)
    frame[0] = FIRST_FRAME
    return ((alpha - mask).abs() * weight * frame).sum() / weight.sum().clamp(min=1)


def band_pixels(trimaps: Tensor, *, most: int, generator: torch.Generator) -> Pixels:
    """Returns the pixels where `trimaps` is 0.5, at most `most` of every frame, chosen at random.

    512 of a frame cost less than a twentieth of a training step; all of them are a hundred times as many numbers.
    """
    band = (trimaps == 0.5).flatten(0, 2)
    chance = torch.rand(band.shape, generator=generator).to(band.device)
    ranked = torch.where(band, chance, -1.0).flatten(1)
    score, place = ranked.topk(min(most, ranked.shape[1]), dim=1)
    frame, rank = torch.nonzero(score >= 0, as_tuple=True)
    chosen = place[frame, rank]
    width = band.shape[-1]
    return Pixels(frame, torch.div(chosen, width, rounding_mode="floor"), chosen % width)


def all_pixels(trimaps: Tensor) -> Pixels:
    """Returns every pixel of [B,T,1,H,W]: the loss over the whole picture, for comparison."""
    return Pixels(*torch.nonzero(torch.ones_like(trimaps, dtype=torch.bool).flatten(0, 2), as_tuple=True))


def boundary(alpha: Tensor, frames: Tensor, pixels: Pixels, *, consistency: Consistency = "scaled ddc") -> Tensor:
    """Returns the mean over `pixels` i and their nearest j of | |a_i - a_j| s_i - |I_i - I_j| |.

    j are the 11 pixels of the 11x11 window that look most like i, itself among them, by the distance |I_i - I_j| in
    RGB. "ddc" has s = 1 (Liu et al. 2024), which asks for an edge as sharp as a mask's wherever foreground and
    background are alike. "scaled ddc" has s = |F - B|, the mean luminance of the window's 11 brightest pixels less
    that of its 11 darkest. It is kept as published, though for greys a distance in RGB is sqrt(3) times one in
    luminance: the loss is lowest for an outline that much steeper than the blend.
    `alpha` is [B,T,1,H,W], `frames` [B,T,3,H,W] of at least 6x6; gradients reach `alpha` only. A pixel takes 2 KB.
    Without pixels the loss is 0.
    """
    if len(pixels.frame) == 0:
        return alpha.sum() * 0.0
    with torch.no_grad():
        colour_NWC, place_NW, inside_NW = _windows(frames.flatten(0, 1), pixels)
        middle = WINDOW * WINDOW // 2
        distance_NW = (colour_NWC - colour_NWC[:, middle, None]).norm(dim=2)
        distance_NW = torch.where(inside_NW, distance_NW, torch.inf)
        distance_NK, nearest_NK = distance_NW.topk(NEAREST, dim=1, largest=False)
        scale_N1 = _contrast(colour_NWC, inside_NW) if consistency == "scaled ddc" else torch.ones_like(distance_NK)
    values = alpha.flatten()
    difference_NK = values[place_NW.gather(1, nearest_NK)] - values[place_NW[:, middle, None]]
    return (difference_NK.abs() * scale_N1 - distance_NK).abs().mean()


def _windows(frames: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Colour [N,W,3], place in the flattened alpha [N,W], and whether that place is in the picture [N,W]."""
    height, width = frames.shape[-2:]
    reach = torch.arange(WINDOW, device=frames.device) - WINDOW // 2
    y = pixels.y[:, None] + reach.repeat_interleave(WINDOW)
    x = pixels.x[:, None] + reach.repeat(WINDOW)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x, frame = y.clamp(0, height - 1), x.clamp(0, width - 1), pixels.frame[:, None]
    return frames[frame, :, y, x], (frame * height + y) * width + x, inside


def _contrast(colour_NWC: Tensor, inside_NW: Tensor) -> Tensor:
    luminance_NW = colour_NWC @ colour_NWC.new_tensor(LUMINANCE)
    brightest = torch.where(inside_NW, luminance_NW, -torch.inf).topk(EXTREMES, dim=1).values
    darkest = torch.where(inside_NW, luminance_NW, torch.inf).topk(EXTREMES, dim=1, largest=False).values
    return brightest.mean(1, keepdim=True) - darkest.mean(1, keepdim=True)
