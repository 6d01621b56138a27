"""What each part of the training strategy is worth, at a small scale: the paper's ablations, trained and scored alike.

    python -m benchmarks.strategies --shared DATA --out runs/strategies --json benchmarks/results/strategies.json

Every strategy trains lite from nothing through the three stages. As in the paper mattes are few and masks are many: six
people in twelve places have mattes, everybody else masks only. Scored are made clips of the people and places kept
aside, at the size that was trained. A run that was stopped goes on; stages that two strategies share are trained once.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import report
from benchmarks.ablation import network_of, reading_the_bank_only
from benchmarks.clips import Clip, find_clips
from benchmarks.metrics import mean_of_clips
from benchmarks.quality.evaluate import evaluate
from rtmatte.modelfile import sha256_of
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite
from training.data.assets import LOOKS, Assets, load_assets
from training.data.clips import ClipMaker
from training.data.held_out import SETS, make_held_out
from training.follow_lite import LiteFollower
from training.iterations import Options, StrategyTrainer
from training.material import MadeMaterial, Material
from training.run_folder import AVERAGED, CHECKPOINT
from training.stages import Stage, Stages, stages

STRATEGIES = ("full", "no-fusion", "no-core", "ddc")
MATTE_PEOPLE, MATTE_PLACES = 6, 12  # the others have masks only
STEPS = (200, 200, 80)
BATCH, FRAMES = 4, 3
SCORED, SCORED_FRAMES = 24, 12
WIDTH, HEIGHT = 128, 96
METRICS = ("mad", "mse", "grad", "dtssd", "core")


def small_stages(strategy: str, steps: Iterable[int] = STEPS) -> Stages:
    """Returns the three stages of a strategy, cut to what one core trains in minutes."""
    pairs = zip(stages(strategy, "small"), steps, strict=True)
    return tuple(replace(stage, steps=count, batch=BATCH, frames=FRAMES) for stage, count in pairs)


def few_mattes(assets: Assets) -> tuple[Assets, Assets]:
    """Returns the pictures of which mattes are known, and those of which only masks are; no person is in both."""
    rows = MATTE_PEOPLE * LOOKS
    known = replace(
        assets,
        people=assets.people[:rows],
        people_top=assets.people_top[:rows],
        cutouts=assets.cutouts[:0],
        cutout_spans=assets.cutout_spans[:0],
        cutout_top=assets.cutout_top[:0],
        backgrounds=assets.backgrounds[:MATTE_PLACES],
    )
    masked = replace(
        assets,
        people=assets.people[rows:],
        people_top=assets.people_top[rows:],
        backgrounds=assets.backgrounds[MATTE_PLACES:],
    )
    return known, masked


def train(planned: Stages, material: Material, out: Path, *, seed: int) -> Path:
    """Returns the averaged weights after the stages; each stage has a folder named after what was trained so far.

    Resumes where it was stopped, and begins after the last stage that an earlier strategy had alike.
    """
    before: Path | None = None
    for count in range(1, len(planned) + 1):
        part = planned[:count]
        folder = out / hashlib.sha256(repr((seed, *map(_that_counts, part))).encode()).hexdigest()[:12]
        if not (folder / CHECKPOINT).exists():
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(before.glob("l*")) if before else ():  # log and checkpoint
                shutil.copyfile(path, folder / path.name)
        torch.manual_seed(seed)
        options = Options(out=folder, seed=seed, save_every=60.0, averaging=0.99)
        trainer = StrategyTrainer(LiteFollower(Lite()), part, material, options)
        trainer.resume()
        if trainer.step < trainer.total or not (folder / AVERAGED).exists():
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task(part[-1].name, total=trainer.total, completed=trainer.step)
                trainer.run(lambda step, stage, loss: bar.update(task, completed=step))  # noqa: B023
        before = folder
    assert before is not None, "a strategy has a stage"
    return before / AVERAGED


def _that_counts(stage: Stage) -> Stage:
    """The stage without what it makes no use of, so that equal trainings look equal."""
    return stage if stage.core else replace(stage, weighing=small_stages("full")[0].weighing)


def score(weights: Path, clips: list[Clip], *, fused: bool) -> dict[str, float]:
    """Returns the mean scores of the weights over the clips, each played once, run as they were trained."""
    net = lite_step.load(weights)
    network = network_of(net if fused else reading_the_bank_only(net), sha256_of(weights))
    means = mean_of_clips([evaluate(network, clip, rounds=1).per_frame for clip in clips])
    return report.rounded({name: means[name] for name in METRICS}, 2)


def main(
    shared: Annotated[Path, typer.Option(help="Folder with traindata/ and webcam/.")],
    out: Annotated[Path, typer.Option(help="Folder for what is trained; a run goes on from it.")],
    only: Annotated[list[str], typer.Option(help="A strategy; again for more.")] = list(STRATEGIES),  # noqa: B006
    seeds: Annotated[int, typer.Option(help="Trainings of each strategy.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
) -> None:
    """Trains the strategies one after the other and compares them."""
    torch.set_num_threads(threads)
    known, masked = few_mattes(load_assets(shared, "train"))
    out.mkdir(parents=True, exist_ok=True)
    judged = out / "held_out"
    if not judged.exists():
        wanted = replace(SETS["mixed"], clips=SCORED, frames=SCORED_FRAMES, size=(HEIGHT, WIDTH))
        make_held_out(shared, judged, wanted)
    clips = find_clips(judged)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in only}
    for seed in range(seeds):
        material = MadeMaterial(ClipMaker(known, seed), masked=ClipMaker(masked, seed))
        for name in only:
            weights = train(small_stages(name), material, out, seed=seed)
            found[name].append(score(weights, clips, fused=name != "no-fusion"))
            Console(stderr=True).print(f"{name}, seed {seed}: {found[name][-1]}")
    Console().print(_table(found))
    if json is not None:
        body = {
            "size": [WIDTH, HEIGHT],
            "iterations": dict(zip([stage.name for stage in small_stages("full")], STEPS, strict=True)),
            "clips": f"{BATCH} of {FRAMES} frames a pass",
            "mattes": f"{MATTE_PEOPLE} people, {MATTE_PLACES} places",
            "scored": f"{SCORED} clips of {SCORED_FRAMES} frames",
            "seeds": seeds,
            "strategies": {name: {"mean": _mean(scores), "each": scores} for name, scores in found.items()},
        }
        report.write_json(json, "benchmarks.strategies", body)


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return report.rounded({name: float(np.mean([one[name] for one in scores])) for name in METRICS}, 2)


def _table(found: Mapping[str, list[dict[str, float]]]) -> Table:
    table = Table("strategy", *METRICS, title="mean over seeds")
    for name, scores in found.items():
        table.add_row(name, *(f"{value:.2f}" for value in _mean(scores).values()))
    return table


if __name__ == "__main__":
    report.run(main)
