"""The strategy at a tiny size: its passes learn, its ablations differ where they say, and a killed run comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from rtmatte.errors import ModelError
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite
from tests.discs import NARROW, TINY, DiscMaterial
from training import passes
from training.curves import draw_curves
from training.follow import Answers
from training.follow_lite import LiteFollower, open_lite
from training.iterations import Options, StrategyTrainer
from training.material import Batch
from training.passes import Weighing
from training.run_folder import AVERAGED, LOG
from training.stages import PUBLISHED, STRATEGIES, Scale, Stage, Stages, stages


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small train no faster on two threads, and many times slower where another process has one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(folder: Path, *, steps: Stages = (TINY,), seed: int = 0, stop: int | None = None) -> StrategyTrainer:
    """A run to its end or, with `stop`, one that is killed after so many steps and saved nothing since the third."""
    torch.manual_seed(seed)
    options = Options(out=folder, seed=seed, log_every=1)
    trainer = StrategyTrainer(LiteFollower(Lite(NARROW)), steps, DiscMaterial(), options)
    trainer.resume()
    if stop is None:
        trainer.run(lambda step, stage, loss: None)
        return trainer

    def kill(step: int, stage: str, loss: float) -> None:
        if step == 3:
            trainer.save()
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run(kill)
    return trainer


def curve(folder: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in ("time", "phase")} for record in records]


def test_every_pass_lowers_its_loss(tmp_path: Path) -> None:
    trained(tmp_path, steps=(replace(TINY, steps=40),))

    losses = curve(tmp_path)
    for name in ("matting l1", "segmentation cross-entropy", "core core", "core boundary"):
        begun, ended = (sum(record[name] for record in part) / 8 for part in (losses[:8], losses[-8:]))
        assert ended < 0.8 * begun, name


@pytest.mark.slow
@pytest.mark.timeout(600)  # 600 optimiser steps, on a machine that may be busy
@pytest.mark.parametrize("stage", PUBLISHED, ids=lambda stage: stage.name)
def test_two_hundred_steps_of_every_stage_lower_its_loss(tmp_path: Path, stage: Stage) -> None:
    weighing = Weighing(points=64, band_pixels=64)
    tiny = replace(stage, steps=200, size=TINY.size, frames=2, batch=1, rate=TINY.rate, weighing=weighing)

    trained(tmp_path, steps=(tiny,))

    sums = [sum(value for name, value in record.items() if name != "step") for record in curve(tmp_path)]
    assert len(sums) == 200
    assert sum(sums[-40:]) < 0.7 * sum(sums[:40])  # found: 0.25, 0.58, 0.57


def test_a_stage_skips_ever_more_frames_and_few_again_at_its_end() -> None:
    stage = replace(PUBLISHED[0], steps=200)

    assert [stage.at(within).skip for within in (0, 49, 50, 100, 150, 199)] == [5, 5, 10, 15, 5, 5]
    assert TINY.at(7) == TINY


def test_a_killed_run_comes_back_to_the_same_curve_and_the_same_weights(tmp_path: Path) -> None:
    steps = (replace(TINY, steps=6),)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()

    whole = trained(tmp_path / "whole", steps=steps)
    trained(tmp_path / "killed", steps=steps, stop=5)
    resumed = trained(tmp_path / "killed", steps=steps)

    assert [record["step"] for record in curve(tmp_path / "killed")] == list(range(1, 7))
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    pairs = zip(whole.averaged.values(), resumed.averaged.values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_the_averaged_weights_open_for_inference_and_as_a_start(tmp_path: Path) -> None:
    trainer = trained(tmp_path, steps=(replace(TINY, steps=1),))

    assert lite_step.load(tmp_path / AVERAGED).widths == NARROW
    started = open_lite(tmp_path / AVERAGED).net.state_dict()
    assert all(torch.equal(value, trainer.averaged[name]) for name, value in started.items())
    with pytest.raises(ModelError, match="checkpoint of lite"):
        open_lite(tmp_path / LOG)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_through_its_three_stages(tmp_path: Path, strategy: str) -> None:
    tiny = [replace(stage, size=TINY.size, frames=2, batch=1, steps=2) for stage in stages(strategy, "small")]

    trainer = trained(tmp_path, steps=tuple(tiny))
    draw_curves(tmp_path / LOG, tmp_path / "curves.png")

    assert trainer.step == 6
    assert [any(name.startswith("core") for name in record) for record in curve(tmp_path)] == (
        [False] * 6 if strategy == "no-core" else [False] * 2 + [True] * 4
    )
    assert "matting change" not in curve(tmp_path)[-1]  # stills teach nothing about change
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_masks_come_from_videos_and_stills_in_turn_and_a_step_has_two_or_three_passes(tmp_path: Path) -> None:
    trainer = trained(tmp_path, steps=(replace(TINY, steps=3, core=False),))

    material = trainer._material
    assert isinstance(material, DiscMaterial)
    assert material.stills == [False, True, False]
    assert not any(name.startswith("core") for record in curve(tmp_path) for name in record)


def test_stills_leave_the_change_predictor_as_it_was(tmp_path: Path) -> None:
    class Stills(DiscMaterial):
        def masked(self, stage: Stage, number: int, *, still: bool) -> Batch:
            return super().masked(stage, number, still=True)

    torch.manual_seed(0)
    follower = LiteFollower(Lite(NARROW))
    before = [parameter.detach().clone() for parameter in follower.change_parameters()]
    steps = (replace(TINY, steps=2, matting="stills"),)

    StrategyTrainer(follower, steps, Stills(), Options(out=tmp_path)).run(lambda step, stage, loss: None)

    pairs = zip(before, follower.change_parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)


def answers_of(raw: Tensor) -> Answers:
    batch, frames = raw.shape[:2]
    return Answers(raw, (torch.full((batch, frames, 1, 2, 3), 0.5),), torch.full((batch, frames - 1, 1, 2, 3), 0.5))


def test_a_clamped_head_below_zero_learns_nothing_and_an_unclamped_one_does() -> None:
    truth = torch.ones(1, 2, 1, 32, 48)
    gradients = []
    for clamped in (True, False):
        raw = torch.full_like(truth, -1.0).requires_grad_()
        parts = passes.matting(answers_of(raw), truth, Weighing(), clamped=clamped, still=True)
        gradients.append(torch.autograd.grad(parts["l1"] + parts["pyramid"], raw)[0])

    assert not bool(gradients[0].any())
    assert bool((gradients[1] < 0).all())


def test_the_first_frame_of_a_matting_pass_weighs_five_times() -> None:
    truth = torch.zeros(1, 3, 1, 32, 48)

    def l1_with_error_in(frame: int) -> float:
        raw = truth.clone()
        raw[:, frame] = 0.6
        return float(passes.matting(answers_of(raw), truth, Weighing(), clamped=True, still=True)["l1"])

    assert abs(l1_with_error_in(0) - 1.0) < 1e-6
    assert abs(l1_with_error_in(2) - 0.2) < 1e-6


def test_core_supervision_pulls_known_pixels_to_the_mask_and_the_band_to_the_picture() -> None:
    mask = torch.zeros(1, 2, 1, 32, 48)
    mask[..., :24] = 1
    flat = torch.full((1, 2, 3, 32, 48), 0.5)
    split = torch.where(mask > 0, 0.8, 0.3).expand(-1, -1, 3, -1, -1)
    moved_in_band, elsewhere = mask.clone(), mask.clone()
    moved_in_band[..., 24:26] = 1
    elsewhere[..., 44:] = 1

    def parts(alpha: Tensor, frames: Tensor, weighing: Weighing) -> dict[str, float]:
        found = passes.core(answers_of(alpha), frames, mask, weighing, generator=torch.Generator().manual_seed(0))
        return {name: float(value) for name, value in found.items()}

    scaled, plain = Weighing(auxiliary=0.0), Weighing(auxiliary=0.0, consistency="ddc")
    assert parts(moved_in_band, split, scaled)["core"] == parts(mask, split, scaled)["core"] == 0
    assert parts(elsewhere, split, scaled)["core"] > 0
    assert parts(moved_in_band, split, scaled)["boundary"] > parts(mask, split, scaled)["boundary"] == 0
    # A picture of one colour tells nothing: with F = B any alpha agrees with it, but plain DDC wants it flat.
    ramp = torch.linspace(1, 0, 48).expand_as(mask)
    assert parts(ramp, flat, scaled)["boundary"] == 0
    assert parts(ramp, flat, plain)["boundary"] > 0


def test_every_strategy_is_a_variation_of_the_full_one() -> None:
    published = stages("full", "published")

    assert published == PUBLISHED
    assert [stage.core for stage in published] == [False, True, True]
    for scale in get_args(Scale):
        full = stages("full", scale)
        assert all(stages(name, scale) != full for name in STRATEGIES if name != "full")
    assert not any(stage.fused for stage in stages("no-fusion", "small"))
    assert not any(stage.core for stage in stages("no-core", "small"))
    assert {stage.weighing.consistency for stage in stages("ddc", "small")} == {"ddc"}
    assert {stage.weighing.where for stage in stages("whole-picture", "small")} == {"everywhere"}
