"""First masks as users give them: degraded, rough, or without limbs, and still of their person."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data.dice import Dice
from training.data.masks import given_mask


def test_a_degraded_mask_still_shows_its_person() -> None:
    alpha = torch.zeros(64, 1, 96, 96)
    alpha[:, :, 20:, 30:70] = 1

    mask = given_mask(alpha, Dice(11))

    overlap = (mask * alpha).sum((1, 2, 3)) / torch.maximum(mask, alpha).sum((1, 2, 3))
    assert overlap.min() > 0.4
    assert len(set(overlap.tolist())) > 8


def test_a_rough_mask_of_a_disc_is_a_polygon_in_it() -> None:
    y, x = torch.meshgrid(torch.arange(96) - 48, torch.arange(96) - 48, indexing="ij")
    disc = (x**2 + y**2 < 40**2).float().expand(64, 1, -1, -1)

    mask = given_mask(disc, Dice(5), rough=1.0)

    within = (mask * (1 - disc)).sum((1, 2, 3)) < 0.01 * disc.sum((1, 2, 3))
    share = (mask * disc).sum((1, 2, 3)) / disc.sum((1, 2, 3))
    octagon, polygon = 0.89, 0.995  # what those of 8 corners and of 24 fill, by a pixel's width
    drawn = within & (share > octagon) & (share < polygon)
    assert drawn.float().mean() > 0.6  # others have a part missing, or are soft
    assert (share > 0.5).all()


def test_a_mask_without_limbs_keeps_the_body_and_half_of_the_time_one_arm() -> None:
    body = torch.zeros(64, 1, 192, 192)
    body[:, :, 32:, 68:124] = 1
    alpha = body.clone()
    left, right = (slice(80, 88), slice(28, 60)), (slice(80, 88), slice(132, 164))
    for rows, columns in (left, right):
        alpha[:, :, rows, columns.start - 8 : columns.stop + 8] = 1

    limbless, usual = given_mask(alpha, Dice(3), limbless=1.0), given_mask(alpha, Dice(3))

    def lost(arm: tuple[slice, slice], masks: Tensor) -> Tensor:
        return masks[:, 0, *arm].mean((1, 2)) < 0.3

    def shares(masks: Tensor) -> tuple[float, float]:
        one, other = lost(left, masks), lost(right, masks)
        return float((one & other).float().mean()), float((one ^ other).float().mean())

    both, one = shares(limbless)
    assert both > 0.3
    assert one > 0.2
    assert shares(usual)[1] < 0.1
    assert ((limbless * body).sum((1, 2, 3)) > 0.5 * body.sum((1, 2, 3))).all()
