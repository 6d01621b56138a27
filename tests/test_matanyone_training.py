"""MatAnyone under the strategy: a small step against the gradient of each pass lowers that pass's loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.discs import TINY, DiscMaterial
from tests.golden_weights import GOLDEN, golden_network
from training import passes
from training.follow import Answers, Head, draw_course
from training.follow_matanyone import MatAnyoneFollower
from training.passes import Weighing

WEIGHING = Weighing(points=64, band_pixels=64)
STEP = 0.01  # length of the step, over the parameters' own spread of about 0.05
BATCH = DiscMaterial().matting(replace(TINY, size=(80, 96), frames=2, batch=1), 3)
MASK = (BATCH.truth > 0.5).float()


def matting(answers: Answers) -> passes.Parts:
    return passes.matting(answers, BATCH.truth, WEIGHING, clamped=False, still=False)


def segment(answers: Answers) -> passes.Parts:
    return passes.segment(answers, MASK, WEIGHING, still=False, generator=torch.Generator().manual_seed(0))


def core(answers: Answers) -> passes.Parts:
    return passes.core(answers, BATCH.frames, MASK, WEIGHING, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def follower() -> MatAnyoneFollower:
    net = copy.deepcopy(golden_network(GOLDEN / "weights_seed0.json")).requires_grad_(True)
    return MatAnyoneFollower(net)  # in inference mode: batch norms keep their statistics, so the loss is a function


@pytest.mark.parametrize(
    ("head", "parts"),
    [("matting", matting), ("segmentation", segment), ("matting", core)],
    ids=["matting", "seg", "core"],
)
def test_a_small_step_lowers_the_loss(
    follower: MatAnyoneFollower, head: Head, parts: Callable[[Answers], passes.Parts]
) -> None:
    parameters = list(follower.net.parameters())
    course = draw_course(2, generator=torch.Generator().manual_seed(0))

    def loss() -> Tensor:
        return torch.stack(list(parts(follower(BATCH.frames, BATCH.mask, course, head)).values())).sum()

    before = loss()
    gradients = torch.autograd.grad(before, parameters, allow_unused=True)
    length = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(STEP / length * gradient)
        after = loss()

    assert float(after) < float(before.detach())
