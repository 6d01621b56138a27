"""Followers are the runtime's networks: with the runtime's memory they give the runtime's alphas."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from rtmatte.network.lite import Lite, Widths
from rtmatte.network.lite_step import LiteStep
from rtmatte.network.lite_step import contract_of as lite_contract
from rtmatte.network.matanyone.step import Step
from rtmatte.network.matanyone.step import contract_of as matanyone_contract
from tests.assertions import SAME_STEP_MAX
from tests.golden_weights import GOLDEN, golden_network
from training.follow import Course, Head, draw_course
from training.follow_lite import LiteFollower
from training.follow_matanyone import MatAnyoneFollower

HEIGHT, WIDTH, FRAMES = 80, 96, 4
EVERYTHING = Course(tuple(tuple(range(t)) for t in range(FRAMES)), (True,) * FRAMES)
NARROW = Widths(f2=16, f4=16, f8=16, f16=32, squeeze=16, dilations=(1,), key=16, value=16, fuse=16, memory16=16)


@pytest.fixture(scope="module")
def matanyone() -> MatAnyoneFollower:
    return MatAnyoneFollower(golden_network(GOLDEN / "weights_seed0.json"))


@pytest.fixture
def lite() -> LiteFollower:
    torch.manual_seed(3)
    return LiteFollower(Lite(NARROW))


def clip(frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    pixels = torch.rand(1, frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., 20:70, 30:66] = 1
    return pixels, mask


def as_the_runtime(step: nn.Module, slots: int, states: list[Tensor], pixels: Tensor, mask: Tensor) -> Tensor:
    """Alphas [B,T,1,H,W] of a seed, one warm-up pass and frames that are all stored."""
    rows = [pixels[:, 0], pixels[:, 0], *pixels[:, 1:].unbind(1)]
    alphas = []
    for call, row in enumerate(rows):
        seed, settle = (torch.full((1, 1), float(call == n)) for n in (0, 1))
        write = torch.zeros(1, slots)
        if call > 1:
            write[:, call - 1] = 1
        alpha, *states = step(row.permute(0, 2, 3, 1) * 255, mask, seed, settle, write, *states)
        alphas.append(alpha)
    return torch.stack(alphas[1:], 1)


@torch.no_grad()
def test_matanyone_follows_a_clip_as_its_step_does(matanyone: MatAnyoneFollower) -> None:
    pixels, mask = clip()
    contract = matanyone_contract(width=WIDTH, height=HEIGHT)
    states = [torch.zeros(spec.shape) for spec in contract.states]
    step = Step(matanyone.net, width=WIDTH, height=HEIGHT, read="full")

    expected = as_the_runtime(step, contract.slots, states, pixels, mask)
    found = matanyone(pixels, mask, EVERYTHING, "matting").raw.clamp(0, 1)

    assert float((found - expected).abs().max()) < SAME_STEP_MAX
    assert float(expected.std()) > 10 * SAME_STEP_MAX


@torch.no_grad()
def test_lite_follows_a_clip_as_its_step_does(lite: LiteFollower) -> None:
    pixels, mask = clip()
    net = lite.eval().net
    contract = lite_contract(net, width=WIDTH, height=HEIGHT, slots=FRAMES)
    states = [torch.zeros(spec.shape) for spec in contract.states]

    expected = as_the_runtime(LiteStep(net, width=WIDTH, height=HEIGHT), FRAMES, states, pixels, mask)
    found = lite(pixels, mask, EVERYTHING, "matting").raw.clamp(0, 1)

    assert float((found - expected).abs().max()) < SAME_STEP_MAX
    assert float(expected.std()) > 10 * SAME_STEP_MAX


@torch.no_grad()
def test_the_segmentation_head_has_its_own_answer_and_is_fed_back(matanyone: MatAnyoneFollower) -> None:
    pixels, mask = clip(2)
    course = draw_course(2, generator=torch.Generator())

    answers = {head: matanyone(pixels, mask, course, head) for head in ("matting", "segmentation")}

    assert answers["segmentation"].raw.shape == (1, 2, 1, HEIGHT, WIDTH)
    assert answers["segmentation"].auxiliary[0].shape == (1, 2, 5, HEIGHT // 16, WIDTH // 16)
    assert not torch.equal(answers["matting"].change, answers["segmentation"].change)


@pytest.mark.parametrize("head", ["matting", "segmentation"])
def test_a_pass_trains_its_own_head_and_leaves_the_other(lite: LiteFollower, head: Head) -> None:
    pixels, mask = clip(3)

    answers = lite(pixels, mask, draw_course(3, generator=torch.Generator()), head)
    answers.raw.square().mean().backward()

    decoder = lite.net.decoder
    own, other = (decoder.head, decoder.coarse4) if head == "matting" else (decoder.coarse4, decoder.head)
    assert all(p.grad is not None for p in own.parameters())
    assert all(p.grad is None for p in other.parameters())
    assert all(p.grad is not None and bool(p.grad.abs().any()) for p in lite.change_parameters())


@torch.no_grad()
def test_without_memory_fusion_the_last_value_is_not_mixed_in(lite: LiteFollower) -> None:
    pixels, mask = clip(3)
    lite.eval()
    course = draw_course(3, generator=torch.Generator())

    fused = lite(pixels, mask, course, "matting")
    alone = lite(pixels, mask, Course(course.references, course.deep, fused=False), "matting")

    assert torch.equal(fused.raw[:, 0], alone.raw[:, 0])
    assert not torch.equal(fused.raw[:, 1:], alone.raw[:, 1:])


def test_a_course_remembers_the_first_frame_and_up_to_two_random_earlier_ones() -> None:
    generator = torch.Generator().manual_seed(0)

    courses = [draw_course(8, generator=generator) for _ in range(200)]

    assert {course.references[:3] for course in courses} == {((), (0,), (0, 1))}
    last = {course.references[7] for course in courses}
    assert all(len(chosen) == 3 and chosen[0] == 0 and all(a < b for a, b in pairwise(chosen)) for chosen in last)
    assert {frame for chosen in last for frame in chosen} == set(range(7))
    deep = [update for course in courses for update in course.deep]
    assert 0.15 < sum(deep) / len(deep) < 0.25
