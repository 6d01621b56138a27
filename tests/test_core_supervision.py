"""Core supervision against loops that take one pixel at a time."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.assertions import ROUNDING
from training.core_supervision import Consistency, Pixels, all_pixels, band_pixels, boundary, core, trimap


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def disc(height: int, width: int, radius: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (((y - height // 2) ** 2 + (x - width // 2) ** 2) < radius**2).float().view(1, 1, 1, height, width)


def one_pixel(alpha: Tensor, frame: Tensor, y: int, x: int, consistency: Consistency) -> list[float]:
    """The terms of one pixel of one frame, [1,H,W] and [3,H,W], as the formula reads."""
    height, width = alpha.shape[-2:]
    window = [(v, u) for v in range(max(0, y - 5), min(height, y + 6)) for u in range(max(0, x - 5), min(width, x + 6))]

    def distance(place: tuple[int, int]) -> float:
        return float((frame[:, y, x] - frame[:, place[0], place[1]]).square().sum().sqrt())

    luminance = sorted(
        float(0.299 * frame[0, v, u] + 0.587 * frame[1, v, u] + 0.114 * frame[2, v, u]) for v, u in window
    )
    scale = 1.0 if consistency == "ddc" else (sum(luminance[-11:]) - sum(luminance[:11])) / 11
    nearest = sorted(window, key=distance)[:11]
    return [abs(abs(float(alpha[0, y, x] - alpha[0, v, u])) * scale - distance((v, u))) for v, u in nearest]


@pytest.mark.parametrize("consistency", ["scaled ddc", "ddc"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole picture", "band"])
def test_the_boundary_loss_is_that_of_a_loop(consistency: Consistency, whole: bool) -> None:
    alpha, frames = noise(2, 2, 1, 6, 13), noise(2, 2, 3, 6, 13, seed=1)
    band = torch.where(noise(2, 2, 1, 6, 13, seed=2) < 0.2, 0.5, 1.0)

    pixels = all_pixels(band) if whole else band_pixels(band, most=1000, generator=torch.Generator())
    loss = boundary(alpha, frames, pixels, consistency=consistency)

    places = product(range(2), range(2), range(6), range(13))
    terms = [
        term
        for b, t, y, x in places
        if whole or band[b, t, 0, y, x] == 0.5
        for term in one_pixel(alpha[b, t], frames[b, t], y, x, consistency)
    ]
    assert abs(float(loss) - sum(terms) / len(terms)) < ROUNDING


def test_a_blend_of_two_greys_costs_nothing_where_alpha_follows_it_by_the_measure_of_the_loss() -> None:
    y, x = torch.meshgrid(torch.arange(30.0).double(), torch.arange(30.0).double(), indexing="ij")
    grey = (0.02 * x + 0.0137 * y).view(1, 1, 1, 30, 30)  # no two pixels of a window are alike
    frames = grey.expand(1, 1, 3, 30, 30)
    middle = Pixels(*(torch.full((1,), n) for n in (0, 15, 15)))
    window = grey[..., 10:21, 10:21].flatten().sort().values
    contrast = window[-11:].mean() - window[:11].mean()

    apart = 3**0.5 * grey  # greys are sqrt(3) as far apart in RGB as in luminance
    scaled = boundary(apart / contrast, frames, middle)
    plain = boundary(apart, frames, middle, consistency="ddc")
    sharp = boundary((grey > grey[..., 15, 15]).double(), frames, middle)

    assert float(scaled) < ROUNDING
    assert float(plain) < ROUNDING
    assert float(sharp) > 0.05


def test_gradients_reach_alpha_and_only_near_the_chosen_pixels() -> None:
    alpha = noise(1, 1, 1, 40, 40).requires_grad_()
    frames = noise(1, 1, 3, 40, 40, seed=1).requires_grad_()

    loss = boundary(alpha, frames, Pixels(*(torch.full((1,), n) for n in (0, 20, 20))))
    [of_alpha] = torch.autograd.grad(loss, alpha)

    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(boundary(alpha, frames, all_pixels(alpha)), frames)
    rows, columns = torch.nonzero(of_alpha[0, 0, 0], as_tuple=True)
    assert len(rows) == 11
    assert int((rows - 20).abs().max()) <= 5
    assert int((columns - 20).abs().max()) <= 5


def test_no_pixels_cost_nothing_and_have_a_gradient() -> None:
    alpha = noise(1, 1, 1, 12, 12).requires_grad_()
    nothing = Pixels(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))

    loss = boundary(alpha, noise(1, 1, 3, 12, 12), nothing)

    assert float(loss.detach()) == 0
    assert not bool(torch.autograd.grad(loss, alpha)[0].any())


@pytest.mark.parametrize(("radius", "side"), [(20.0, 9), (66.0, 11), (70.0, 13), (150.0, 21)])
def test_the_band_grows_with_the_person_as_a_square_kernel_makes_it(radius: float, side: int) -> None:
    mask = disc(320, 330, radius)

    found = trimap(mask)[0, 0, 0].numpy()

    kernel, plain = np.ones((side, side), np.uint8), mask[0, 0, 0].numpy().astype(np.uint8)
    expected = np.where(cv2.dilate(plain, kernel) != cv2.erode(plain, kernel), 0.5, plain)
    assert np.array_equal(found, expected)


def test_every_frame_has_its_own_band_and_the_edge_of_the_picture_is_none() -> None:
    small, full = disc(200, 200, 20.0), torch.ones(1, 1, 1, 200, 200)

    both = trimap(torch.cat([small, full], dim=1))

    assert torch.equal(both[:, :1], trimap(small))
    assert torch.equal(both[:, 1:], full)


def test_the_core_is_a_mean_over_known_pixels_with_a_heavy_first_frame() -> None:
    alpha, mask = noise(2, 3, 1, 4, 5), noise(2, 3, 1, 4, 5, seed=1).round()
    known = noise(2, 3, 1, 4, 5, seed=2) > 0.4

    total = sum(
        (5 if t == 0 else 1) * abs(float(alpha[b, t, 0, y, x] - mask[b, t, 0, y, x]))
        for b, t, y, x in product(range(2), range(3), range(4), range(5))
        if known[b, t, 0, y, x]
    )

    assert abs(float(core(alpha, mask, known)) - total / int(known.sum())) < ROUNDING


def test_a_picture_without_known_pixels_has_no_core() -> None:
    alpha = noise(1, 2, 1, 3, 3)

    assert float(core(alpha, alpha + 1, torch.zeros_like(alpha, dtype=torch.bool))) == 0


def test_the_band_is_sampled_evenly_and_never_twice() -> None:
    band = torch.ones(1, 2, 1, 20, 20)
    band[0, 0, 0, :, :3] = 0.5
    band[0, 1, 0, 5, 5] = 0.5

    pixels = band_pixels(band, most=30, generator=torch.Generator().manual_seed(1))

    places = list(zip(*(part.tolist() for part in pixels), strict=True))
    assert len(set(places)) == len(places) == 31
    assert all(band.flatten(0, 2)[place] == 0.5 for place in places)
