"""Segmentation losses on maps whose value is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.assertions import assert_equal_but_rounding
from training.segmentation import at_points, cross_entropy, dice, unsure_points


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def edge_logits() -> Tensor:
    """Sure on the left and on the right, unsure in the four middle columns of 64."""
    across = (torch.arange(64) - 31.5).clamp(-8, 8)
    return across.expand(2, 3, 1, 48, 64).contiguous()


def test_most_points_lie_where_the_network_is_unsure() -> None:
    points = unsure_points(edge_logits(), 400, generator())

    assert points.shape == (6, 1, 400, 2)
    near = (
        points[..., 0].abs() < 0.34
    )  # the middle third of the columns, which three times the points reach; even draws: 0.34
    assert bool((near.float().mean((1, 2)) > 0.7).all())
    assert float(points.abs().max()) <= 1


def test_points_read_the_map_where_they_are() -> None:
    ramp = (torch.arange(10.0) + 0.5).expand(1, 2, 1, 4, 10)
    points = torch.tensor([[-0.5, 0.0], [0.0, 0.3], [0.5, -0.5]]).expand(2, 1, 3, 2)

    values = at_points(ramp, points)

    assert_equal_but_rounding(values[0, 1].numpy() / 10, torch.tensor([0.25, 0.5, 0.75]).numpy())


def test_cross_entropy_counts_the_first_frame_five_times() -> None:
    logits, truth = torch.zeros(2, 3, 10), torch.ones(2, 3, 10)

    loss = cross_entropy(logits, truth)

    assert math.isclose(float(loss), math.log(2) * (5 + 1 + 1) / 3, rel_tol=1e-6)


def test_dice_is_none_for_a_perfect_answer_and_nearly_one_for_the_opposite() -> None:
    truth = torch.tensor([0.0, 1.0]).repeat(200).expand(1, 1, 400)
    sure = (truth - 0.5) * 200

    assert float(dice(sure, truth)) / 5 < 1e-3
    assert float(dice(-sure, truth)) / 5 > 0.99


def test_dice_of_nothing_found_in_nothing_is_none() -> None:
    truth = torch.zeros(1, 2, 50)

    assert float(dice(truth - 100, truth)) < 1e-3
