"""Material and sizes for training tests: a bright soft disc that moves over a dark room; nothing is read from disk.

torchrun --nproc-per-node 2 -m tests.discs OUT STEPS      trains on it, a checkpoint after each tenth step
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from rtmatte.network.lite import Lite, Widths
from training.follow_lite import LiteFollower
from training.iterations import Options, StrategyTrainer
from training.material import Batch
from training.passes import Weighing
from training.stages import Stage

NARROW = Widths(f2=16, f4=16, f8=16, f16=32, squeeze=16, dilations=(1,), key=16, value=16, fuse=16, memory16=16)
TINY = Stage("tiny", 24, (32, 48), frames=3, batch=2, rate=3e-3, skip=1, core=True, weighing=Weighing(points=64))


class DiscMaterial:
    """A bright soft disc that moves over a dark room: nothing is read from disk."""

    def __init__(self) -> None:
        self.stills: list[bool] = []

    def matting(self, stage: Stage, number: int) -> Batch:
        return self._discs(stage, number, still=stage.matting == "stills", soft=1.5)

    def masked(self, stage: Stage, number: int, *, still: bool) -> Batch:
        self.stills.append(still)
        return self._discs(stage, number, still=still, soft=0.01)

    def _discs(self, stage: Stage, number: int, *, still: bool, soft: float) -> Batch:
        generator = torch.Generator().manual_seed(number)
        start, end = torch.rand(2, stage.batch, 1, 2, generator=generator) * 0.6 + 0.2
        time = torch.linspace(0, 1, stage.frames)[:, None]
        height, width = stage.size
        middle = torch.lerp(start, end, time) * torch.tensor([height, width])
        y = torch.arange(height)[:, None] - middle[..., 0, None, None]
        x = torch.arange(width) - middle[..., 1, None, None]
        truth = ((height / 4 - (y**2 + x**2).sqrt()) / soft + 0.5).clamp(0, 1)[:, :, None]
        frames = 0.1 + 0.7 * truth.expand(-1, -1, 3, -1, -1) + 0.05 * torch.rand(1, generator=generator)
        return Batch(frames, truth, (truth[:, 0] > 0.5).float(), still)


def main() -> None:
    """One process of a run under torchrun."""
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    stage = Stage(
        "tiny", steps, (32, 48), frames=2, batch=1, rate=3e-3, skip=1, core=True, weighing=Weighing(points=64)
    )
    options = Options(out=out, log_every=10, save_every=0.0)
    trainer = StrategyTrainer(LiteFollower(Lite(NARROW)), (stage,), DiscMaterial(), options)
    trainer.resume()
    trainer.run(lambda step, stage, loss: None)
    dist.barrier()  # whoever leaves first can take the others down with it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
