"""A composite as arithmetic on tensors: the host compositor's, step by step, all on one device and without a stop.

The host computes the edge alone, since its work grows with the pixels; here everything is computed and the edge chosen,
as a device has the units, and a fixed sequence of work can be captured. `refine`, `guided`, `despill`, `blur` and
`paint` say why each step is as it is.

Legend: levels (3, H, W) and alphas (1, H, W) are float32, levels whole numbers 0..255; h, w is the working size.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rtmatte.compose import despill, guided
from rtmatte.compose.blur import SLATE, Blur
from rtmatte.compose.refine import SURE
from rtmatte.compose.runs import layout
from rtmatte.compose.tensors import Shape, Shrink, box, gaussian, interpolated, luma, nearest
from rtmatte.imaging import Size


class Drawing:
    """Draws people of frames of one size, with alphas of another one or the same, over a picture or the blurred room.

    All it needs of its own is made when it is.
    """

    def __init__(self, size: Size, working: Size, blur: Blur | None, device: torch.device) -> None:
        shape, small = size[::-1], working[::-1]
        self._same = shape == small
        self._shrink = Shrink(shape, small, device, levels=True)
        self._detail = None if self._same else _Detail(shape, small, device)
        self._edge = _Edge(shape, small, device)
        self._despill = _Despill(shape, small, device)
        self._blur = None if blur is None else _Blur(blur, shape, small, device)

    def __call__(self, frame: Tensor, alpha: Tensor, strength: Tensor, under: Tensor) -> Tensor:
        """Returns the composite (H, W, 3) uint8 of `frame` (H, W, 3) uint8 and `alpha` (h, w) float32 in 0..1.

        `under` (H, W, 3) uint8 is what is behind, and not read where the room is blurred; `strength` () float32 is the
        look's despill.
        """
        levels, alpha = _levels(frame), alpha.clamp(0, 1)[None]
        small = levels if self._same else self._shrink(levels)
        behind = _levels(under) if self._blur is None else self._blur(small, alpha)
        at_edge = alpha if self._detail is None else self._detail(levels, small, alpha)
        person = self._despill(levels, small, alpha, (1 - at_edge) * strength)
        mixed = ((person - behind) * at_edge + behind).round()
        edge, inside = self._edge(alpha)
        drawn = torch.where(edge, mixed, torch.where(inside, levels, behind))
        return drawn.permute(1, 2, 0).to(torch.uint8)


class _Edge:
    """Which pixels are mixed and which are the person's alone: whole runs, as `Runs` has them."""

    def __init__(self, shape: Shape, small: Shape, device: torch.device) -> None:
        length, self._reach = layout(shape[1], small[1])
        rows, columns = nearest(small, (shape[0], shape[1] // length), device)
        self._index = rows, columns.repeat_interleave(length, 1)

    def __call__(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        mixed = ((alpha >= SURE) & (alpha <= 1 - SURE)).to(torch.float32)
        near = functional.max_pool2d(mixed, (3, 2 * self._reach + 1), stride=1, padding=(1, self._reach))
        return near[0][self._index] > 0, alpha[0][self._index] >= 0.5


class _Detail:
    """The alpha at the size of the frame, with the detail of its luma: `guided.lines`, enlarged."""

    def __init__(self, shape: Shape, small: Shape, device: torch.device) -> None:
        self._mean = box(small, guided.RADIUS, device)
        self._enlarge = interpolated(small, shape, device)

    def __call__(self, levels: Tensor, small: Tensor, alpha: Tensor) -> Tensor:
        light = luma(small)
        of_light, of_alpha, squares, both = self._mean(torch.cat([light, alpha, light * light, light * alpha])).unbind()
        slope = (both - of_light * of_alpha) / (squares - of_light * of_light + guided.NOISE)
        slope = slope * ((1 - alpha) * alpha * guided.BAND).clamp(max=1)
        slope, offset = self._enlarge(torch.cat([slope, alpha - slope * light])).unbind()
        detailed: Tensor = slope * luma(levels) + offset
        return detailed.clamp(0, 1)


class _Despill:
    """The person's own colours."""

    def __init__(self, shape: Shape, small: Shape, device: torch.device) -> None:
        tiny = despill.small_shape(small)
        self._shrink = Shrink(small, tiny, device, levels=True)
        self._shrink_alpha = Shrink(small, tiny, device, levels=False)
        self._means = [box(tiny, reach, device, border=cv2.BORDER_REPLICATE) for reach in despill.REACHES]
        self._enlarge = interpolated(tiny, shape, device)

    def __call__(self, levels: Tensor, small: Tensor, alpha: Tensor, share: Tensor) -> Tensor:
        """Returns the levels with `share` (1, H, W) of the way from the room's colours to the person's put on top."""
        picture, alpha = self._shrink(small), self._shrink_alpha(alpha)
        sure = 255 / despill.UNSURE
        person = self._mean(picture, (alpha * sure + (255 - sure)).round().clamp(0, 255))
        room = self._mean(picture, (255 - alpha * sure).round().clamp(0, 255))
        return (levels + share * self._enlarge(person - room).round()).clamp(0, 255)

    def _mean(self, picture: Tensor, weight: Tensor) -> Tensor:
        counted = torch.cat([picture * weight, 255 * weight])
        total = counted.mean((1, 2), keepdim=True) * despill.ANYWHERE
        for rank, around in enumerate(self._means):
            total = total + despill.WIDER**rank * around(counted)
        colours, weights = total[:3], total[3:]
        mean = (colours * 255 / weights).round().clamp(0, 255)
        return mean.masked_fill(weights <= 0, 0)  # nothing over nothing, where nobody is sure anywhere


class _Blur:
    """The room without the person, blurred."""

    def __init__(self, blur: Blur, shape: Shape, small: Shape, device: torch.device) -> None:
        sizes = blur.reduced(small[::-1])
        weighted, tiny = sizes.weighted[::-1], sizes.blurred[::-1]
        self._shrink = Shrink(small, weighted, device, levels=True)
        self._shrink_alpha = Shrink(small, weighted, device, levels=False)
        self._average = interpolated(weighted, tiny, device, how=cv2.INTER_AREA)
        self._spread = gaussian(tiny, sizes.sigma, device, border=cv2.BORDER_REFLECT)
        grows = tiny[0] < shape[0] or tiny[1] < shape[1]
        self._enlarge = interpolated(tiny, shape, device, how=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)
        self._slate = torch.from_numpy(np.array(SLATE, np.float32)).to(device)[:, None, None]

    def __call__(self, small: Tensor, alpha: Tensor) -> Tensor:
        weight = (1 - Blur.STEEPNESS * self._shrink_alpha(alpha)).clamp(min=0)
        room, weight = self._average(self._shrink(small) * weight), self._average(weight)
        total = weight.sum()
        mean = torch.where(total > 0, room.sum((1, 2), keepdim=True) / total, self._slate)
        room = self._spread(room) + mean * Blur.FAR
        blurred = (room * Blur.PARTS / (self._spread(weight) + Blur.FAR)).round()
        return (self._enlarge(blurred).round() / Blur.PARTS).round().clamp(0, 255)


def _levels(picture: Tensor) -> Tensor:
    return picture.permute(2, 0, 1).to(torch.float32)
