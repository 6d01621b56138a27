"""The training loop on clips that cost nothing to make: it learns, it saves, it goes on where it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rtmatte.network import lite_step
from rtmatte.network.lite import Lite, Widths
from training.curves import draw_curves
from training.data.clips import Clip, ClipOptions
from training.data.dice import Dice
from training.data.pool import ReplayPool
from training.loop import Options, Trainer
from training.recipes import RECIPES, Phase
from training.run_folder import AVERAGED, CHECKPOINT, LOG
from training.unroll import draw_plan, unroll

NARROW = Widths(f2=16, f4=16, f8=16, f16=16, squeeze=16, dilations=(1,), key=16, value=16, fuse=16, d8=16, d4=16)
PHASE = Phase(
    name="test",
    steps=40,
    sizes=((1.0, ((32, 48),)),),
    frames=(3, 3),
    pixels=6 * 32 * 48,
    rate=(3e-3, 1e-3),
    data=ClipOptions(),
)


def bright_squares(options: ClipOptions, seed: int = 0) -> Clip:
    """A bright square that moves to the right over a wall whose grey is the clip's own."""
    shape = (options.batch, options.frames, 1, options.height, options.width)
    alpha = torch.zeros(shape)
    for t in range(options.frames):
        alpha[:, t, :, 8:, 8 + 2 * t : 24 + 2 * t] = 1
    frames = 0.1 + 0.02 * (seed % 8) + 0.6 * alpha.expand(-1, -1, 3, -1, -1)
    seen = torch.ones(shape[:2], dtype=torch.bool)
    return Clip(frames, alpha, alpha[:, 0], seen[:, 0], seen)


def silent(step: int, phase: str, means: dict[str, float]) -> None:
    """Progress nobody looks at."""


def a_trainer(out: Path, steps: int = PHASE.steps) -> Trainer:
    options = Options(out=out, log_every=5, save_every=1e9)
    return Trainer((replace(PHASE, steps=steps),), options, NARROW)


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return [sum(v for k, v in r.items() if k not in ("step", "phase", "time")) for r in records]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    a_trainer(tmp_path).run(bright_squares, silent)
    curve = losses(tmp_path)
    assert len(curve) == 8
    assert curve[-1] < 0.6 * curve[0]


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    a_trainer(whole, 20).run(bright_squares, silent)
    first = a_trainer(parts, 20)
    with pytest.raises(_PulledPlug):
        first.run(bright_squares, _pull_plug_at(first, 10))
    second = a_trainer(parts, 20)
    assert second.resume()
    assert second.step_number == 10
    second.run(bright_squares, silent)
    assert losses(parts) == losses(whole)


def test_a_run_killed_between_checkpoints_does_its_steps_again_pool_and_all(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    a_trainer(whole, 20).run(a_pool().get, silent)
    first = a_trainer(parts, 20)
    with pytest.raises(_PulledPlug):
        first.run(a_pool().get, _save_at_and_pull_plug_at(first, 10, 15))
    second, pool = a_trainer(parts, 20), a_pool()
    assert second.resume()
    for options, seed in second.past():
        pool.note(options, seed)

    second.run(pool.get, silent)

    assert losses(parts) == losses(whole)


def a_pool() -> ReplayPool:
    return ReplayPool(bright_squares, dice=Dice(0), size=4, reuse=0.6)


def _save_at_and_pull_plug_at(
    trainer: Trainer, saved: int, pulled: int
) -> Callable[[int, str, dict[str, float]], None]:
    def progress(number: int, phase: str, means: dict[str, float]) -> None:
        if number == saved:
            trainer.save()
        if number == pulled:
            raise _PulledPlug

    return progress


class _PulledPlug(Exception):
    """The machine went off."""


def _pull_plug_at(trainer: Trainer, step: int) -> Callable[[int, str, dict[str, float]], None]:
    def progress(number: int, phase: str, means: dict[str, float]) -> None:
        if number == step:
            trainer.save()
            raise _PulledPlug

    return progress


def test_checkpoints_open_as_networks_and_leave_no_half_file(tmp_path: Path) -> None:
    a_trainer(tmp_path, 5).run(bright_squares, silent)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([AVERAGED, CHECKPOINT, LOG])
    assert lite_step.load(tmp_path / AVERAGED).widths == NARROW


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    first, out = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    out.mkdir()
    a_trainer(first).run(bright_squares, silent)
    second = a_trainer(out, 5)

    second.start_from(first / AVERAGED)
    second.run(bright_squares, silent)

    assert losses(out)[0] < losses(first)[0] / 2


def test_an_empty_folder_is_a_new_start(tmp_path: Path) -> None:
    assert not a_trainer(tmp_path).resume()


def test_the_curves_become_a_picture(tmp_path: Path) -> None:
    a_trainer(tmp_path, 10).run(bright_squares, silent)
    draw_curves(tmp_path / LOG, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_every_recipe_draws_clips_that_fit_its_budget(tmp_path: Path) -> None:
    for phases in RECIPES.values():
        trainer = Trainer(phases, Options(out=tmp_path), NARROW)
        for phase in phases:
            drawn = [trainer.draw_options(phase, trainer.shared) for _ in range(50)]
            assert all(phase.frames[0] <= o.frames <= phase.frames[1] for o in drawn)
            assert all(o.height % 16 == 0 == o.width % 16 for o in drawn)
            assert len({(o.height, o.width) for o in drawn}) > 1 or len(phase.sizes[0][1]) == 1


def test_unrolling_equals_the_exported_step() -> None:
    torch.manual_seed(0)
    net = Lite(NARROW).eval()
    clip = bright_squares(replace(ClipOptions(), batch=1, frames=4, height=32, width=48))
    generator = torch.Generator().manual_seed(0)
    plan = draw_plan(1, 4, bank_only=0, drop=0, spoil=0, generator=generator)
    plan = replace(plan, settles=2, write_every=2, slots=3)
    step = lite_step.LiteStep(net, width=48, height=32)
    state = [torch.from_numpy(s.zeros()) for s in lite_step.contract_of(net, width=48, height=32, slots=3).states]
    levels = (clip.frames[0] * 255).permute(0, 2, 3, 1)
    one, zero, keep = torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 3)
    store = torch.tensor([[0.0, 1, 0]])
    calls = [(0, one, zero, keep), (0, zero, one, keep), (0, zero, one, keep)]
    calls += [(1, zero, zero, keep), (2, zero, zero, store), (3, zero, zero, keep)]
    with torch.inference_mode():
        expected = unroll(net, clip.frames, clip.mask, plan).raw.clamp(0, 1)
        found = []
        for n, seed, settle, write in calls:
            alpha, *state = step(levels[n : n + 1], clip.mask, seed, settle, write, *state)
            found.append(alpha)
    assert (torch.stack(found[2:], dim=1) - expected).abs().max() < 1e-5


def test_a_rehearsed_clip_is_judged_after_it_was_played_to_and_fro() -> None:
    torch.manual_seed(0)
    net = Lite(NARROW).eval()
    clip = bright_squares(replace(ClipOptions(), batch=1, frames=4, height=32, width=48))
    generator = torch.Generator().manual_seed(0)
    plan = draw_plan(1, 4, bank_only=0, drop=0, spoil=0, laps=1, generator=generator)
    plain = replace(plan, laps=0, write_every=3, slots=2, dropped=torch.zeros(1, 10, dtype=torch.bool))
    plain = replace(plain, spoiled=plain.dropped)
    there_and_back = [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    with torch.inference_mode():
        expected = unroll(net, clip.frames[:, there_and_back], clip.mask, plain).raw[:, -3:]
        found = unroll(net, clip.frames, clip.mask, replace(plan, write_every=3, slots=2)).raw[:, 1:]
    assert (found - expected).abs().max() < 1e-5
    assert not torch.allclose(unroll(net, clip.frames, clip.mask, replace(plan, laps=0)).raw[:, 1:], found)
