"""What is known of a frame once its matte is there: what is the person, what is not, and the edge between."""

from __future__ import annotations

from dataclasses import dataclass

from rtmatte.compose.runs import Runs
from rtmatte.compose.scratch import Bytes
from rtmatte.frame import Alpha


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cutout:
    """A frame taken apart; a lease of the refiner that made it, until its next.

    `pixels` (H, W, 3) is the frame, `small` (h, w, 3) the same at the alpha's size. `alpha` (h, w) is how much of a
    pixel was the person in the frame, `cover` how much of it is drawn: another one only where the look moves or softens
    the edge; `inside` (h, w) is not zero where that is more than half. `edge` names the pixels of the frame that are
    mixed; `edge_pixels`, `edge_alpha` and `edge_cover` are the frame and both alphas there, in the frame's own detail,
    as one row each. Alphas are float32 in 0..1.
    """

    pixels: Bytes
    small: Bytes
    alpha: Alpha
    cover: Alpha
    inside: Bytes
    edge: Runs
    edge_pixels: Bytes
    edge_alpha: Alpha
    edge_cover: Alpha
