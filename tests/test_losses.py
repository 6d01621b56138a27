"""The losses: what they punish, what they leave free."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training import losses


def square(value: float = 1.0) -> Tensor:
    alpha = torch.zeros(1, 2, 1, 64, 64)
    alpha[..., 16:48, 16:48] = value
    return alpha


def test_overshoot_at_the_ends_is_free_and_nothing_else() -> None:
    truth = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.5, 0.5])
    raw = torch.tensor([-0.3, 0.2, 1.4, 0.8, -0.1, 1.2])
    error = (losses.one_sided(raw, truth) - truth).abs()
    assert error.tolist() == pytest.approx([0.0, 0.2, 0.0, 0.2, 0.6, 0.7])


def test_the_edge_band_holds_the_edge_and_not_the_rest() -> None:
    band = losses.edge_band(square())
    assert band[0, 0, 0, 16, 20:44].min() == 1
    assert band[0, 0, 0, 32, 32] == 0
    assert band[0, 0, 0, 0, 0] == 0
    assert 0.1 < band.mean() < 0.7


def test_the_edge_band_holds_an_edge_that_lies_between_two_cells() -> None:
    assert losses.edge_band(square())[0, 0, 0, 32, 15:17].min() == 1


@pytest.mark.parametrize("loss", [losses.laplacian, losses.temporal, losses.squared])
def test_the_truth_itself_costs_nothing(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert loss(square(), square()) == 0


def test_a_pyramid_sees_a_lost_detail_and_a_wrong_level() -> None:
    blurred = torch.nn.functional.avg_pool2d(square().flatten(0, 1), 5, 1, 2).view_as(square())
    assert losses.laplacian(blurred, square()) > 0
    assert losses.laplacian(square(0.8), square()) > 0


def test_a_constant_error_does_not_flicker_but_a_changing_one_does() -> None:
    steady = square() + 0.1
    flicker = square() + torch.tensor([0.1, -0.1]).view(1, 2, 1, 1, 1)
    assert losses.temporal(steady, square()) == pytest.approx(0, abs=1e-12)
    assert losses.temporal(flicker, square()) == pytest.approx(0.04)
    assert losses.temporal(square()[:, :1], square()[:, :1]) == 0


def test_change_is_marked_in_the_cells_where_the_alpha_moved() -> None:
    truth = square()
    truth[:, 1, :, 60, 60] = 1
    assert losses.changed(truth).flatten().tolist() == [0] * 15 + [1]


def test_a_sure_and_wrong_probability_is_punished_but_stays_finite() -> None:
    truth, weight = torch.ones(1, 1, 1, 2, 2), torch.ones(1, 1, 1, 1, 1)
    wrong = losses.probability_against(torch.zeros_like(truth), truth, weight)
    right = losses.probability_against(torch.ones_like(truth), truth, weight)
    assert torch.isfinite(wrong)
    assert wrong > 100 * right
