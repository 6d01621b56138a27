"""The paper's training strategy: three stages of up to three optimiser steps an iteration, for lite and for MatAnyone.

python -m training.strategy --shared DATA --out runs/full                                     lite, at a small scale
python -m training.strategy --shared DATA --out runs/ddc --strategy ddc                       one of the ablations
torchrun --nproc-per-node 8 -m training.strategy --shared DATA --out runs/full --network matanyone --scale published \\
    --mattes videomatte240k=/data/VideoMatte240K --masklets /data/sav --coco /data/coco/train2017=/data/coco/train.json

Started again with the same arguments it goes on from its checkpoint as if it had never stopped: what a step sees is
a function of the seed, the step and the process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import get_args

import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rtmatte.errors import ExitCode, InputError, RtmatteError
from training.curves import draw_curves
from training.data.assets import load_assets
from training.data.clips import ClipMaker
from training.data.layouts import DATA_SETS
from training.data.masked import MaskClip
from training.data.masklets import coco, sav_masklets, youtube_vis
from training.data.mattes import with_mattes
from training.follow import Follower
from training.follow_lite import open_lite
from training.follow_matanyone import open_matanyone
from training.iterations import Options, StrategyTrainer
from training.material import MadeMaterial
from training.run_folder import LOG
from training.stages import STRATEGIES, Scale, stages

FOLLOWERS: dict[str, Callable[[Path | None], Follower]] = {"lite": open_lite, "matanyone": open_matanyone}


def main() -> int:
    """Trains, and returns the exit code: 0, or 2 for bad input."""
    try:
        _train(_arguments().parse_args())
    except RtmatteError as error:
        print(f"training: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


def _train(given: argparse.Namespace) -> None:
    """Joins the other processes if there are any, and trains."""
    began = time.monotonic()
    torch.set_num_threads(given.threads)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if given.device == "cuda" else "gloo", timeout=timedelta(minutes=10))
    rank = dist.get_rank() if dist.is_initialized() else 0
    given.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(given.seed)
    follower = FOLLOWERS[given.network](given.weights)
    mixed = given.network == "lite"
    options = Options(given.out, given.seed, given.save_every, device=given.device, mixed=mixed)
    trainer = StrategyTrainer(follower, stages(given.strategy, given.scale), _material(given), options)
    resumed = trainer.resume()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=rank > 0) as bar:
        task = bar.add_task("resumed" if resumed else "begun", total=trainer.total, completed=trainer.step)

        def progress(step: int, stage: str, loss: float) -> None:
            bar.update(task, completed=step, description=f"{stage}: loss {loss:.3f}")

        trainer.run(progress, until=began + given.minutes * 60)
    if rank == 0:
        draw_curves(given.out / LOG, given.out / "curves.png")
    if dist.is_initialized():
        dist.barrier()  # whoever leaves first can take the others down with it
        dist.destroy_process_group()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with traindata/ and webcam/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, log and curves")
    parser.add_argument("--network", choices=sorted(FOLLOWERS), default="lite")
    parser.add_argument("--weights", type=Path, help="a checkpoint of that network to start from (default: untrained)")
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="full")
    parser.add_argument("--scale", choices=get_args(Scale), default="small")
    parser.add_argument("--mattes", action="append", default=[], metavar="SET=PATH", help=f"of {', '.join(DATA_SETS)}")
    parser.add_argument("--masklets", type=Path, help="folder with SA-V videos and masklets of people")
    parser.add_argument("--vis", metavar="PICTURES=JSON", help="YouTubeVIS pictures and instances")
    parser.add_argument("--coco", metavar="PICTURES=JSON", help="COCO pictures and instances")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many (default: never)")
    parser.add_argument("--save-every", type=float, default=180.0, help="seconds between checkpoints (default: 180)")
    parser.add_argument("--threads", type=int, default=1, help="threads per process (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _material(given: argparse.Namespace) -> MadeMaterial:
    assets = load_assets(given.shared, "train", given.device)
    for text in given.mattes:
        name, path = _pair(text)
        if name not in DATA_SETS:
            raise InputError(f"expected one of {', '.join(DATA_SETS)} before '=', found {name!r}")
        assets = with_mattes(assets, DATA_SETS[name](Path(path)))
    videos: list[MaskClip] = sav_masklets(given.masklets) if given.masklets else []
    if given.vis:
        pictures_of, listing = map(Path, _pair(given.vis))
        videos += youtube_vis(pictures_of, listing)
    pictures: list[MaskClip] = []
    if given.coco:
        pictures_of, listing = map(Path, _pair(given.coco))
        pictures = coco(pictures_of, listing)
    return MadeMaterial(ClipMaker(assets, given.seed, given.device), videos, pictures)


def _pair(text: str) -> tuple[str, str]:
    first, equals, second = text.partition("=")
    if not equals:
        raise InputError(f"expected two parts joined by '=', found {text!r}")
    return first, second


if __name__ == "__main__":
    sys.exit(main())
