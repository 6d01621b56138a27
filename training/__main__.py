"""Trains lite.

python -m training --shared DATA --out runs/lite                       one process
torchrun --nproc-per-node 2 -m training --shared DATA --out runs/lite  two processes of one thread: 1.6 times as fast
    as one of two threads on a CPU. Started again, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rtmatte.network.lite import Widths
from training.curves import draw_curves
from training.data.assets import load_assets
from training.data.clips import Clip, ClipMaker, ClipOptions
from training.data.dice import Dice
from training.data.pool import ReplayPool
from training.loop import Options, Trainer
from training.recipes import RECIPES
from training.run_folder import LOG

POOL, REUSE = 300, 0.65  # clips kept by a process, and the share of steps that replay one: 0.5 GB, a third of the cost


def main() -> None:
    """Reads the arguments, joins the other processes if there are any, and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with traindata/ and webcam/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, log and curves")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="lite")
    parser.add_argument("--weights", type=Path, help="averaged weights to start from (default: untrained)")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so many minutes (default: never)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads per process (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(given.threads)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if given.device == "cuda" else "gloo", timeout=timedelta(minutes=10))
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    given.out.mkdir(parents=True, exist_ok=True)

    options = Options(out=given.out, seed=given.seed, device=given.device)
    phases = RECIPES[given.recipe]
    trainer = Trainer(phases, options, Widths())
    if given.weights:
        trainer.start_from(given.weights)
    resumed = trainer.resume()
    total = sum(phase.steps for phase in phases)
    maker = ClipMaker(load_assets(given.shared, "train", given.device), given.seed, given.device)

    def make(options: ClipOptions, seed: int) -> Clip:
        maker.restart(2 * (seed * world + rank))  # dice take two seeds: one for numbers, one for grain
        return maker.make(options)

    # The same dice in every process: all replay or all make in a step, and none waits for another.
    pool = ReplayPool(make, dice=Dice(given.seed, given.device), size=POOL, reuse=REUSE)
    for options_then, seed in trainer.past():
        pool.note(options_then, seed)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=rank > 0) as bar:
        task = bar.add_task("resumed" if resumed else "begun", total=total, completed=trainer.step_number)

        def progress(step: int, phase: str, means: dict[str, float]) -> None:
            bar.update(task, completed=step, description=f"{phase}: loss {sum(means.values()):.3f}")

        trainer.run(pool.get, progress, until=began + given.minutes * 60)
    if rank == 0:
        draw_curves(given.out / LOG, given.out / "curves.png")
    if dist.is_initialized():
        dist.barrier()  # whoever leaves first can take the others down with it
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
