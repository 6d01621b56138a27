"""Runs stages: iterations of up to three optimiser steps, averaged weights, and checkpoints that resume exactly.

Everything drawn at random is a function of the seed, the step and the process, so a checkpoint holds weights and
optimiser only, and what a killed run did after its last checkpoint happens again alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training import passes
from training.checkpoint import write_then_rename
from training.follow import Answers, Follower, Head, draw_course
from training.material import Batch, Material
from training.passes import Parts
from training.run_folder import AVERAGED, CHECKPOINT, average_towards, cut_log, log_means
from training.stages import Stage, Stages

_LARGEST_SEED = 2**62


@dataclass(frozen=True, slots=True)
class Options:
    """How to run; what is learnt is the stages' business."""

    out: Path
    seed: int = 0
    save_every: float = 180.0  # seconds
    log_every: int = 20  # iterations
    averaging: float = 0.998  # decay of the averaged weights
    weight_decay: float = 1e-3  # none on norms, biases and embeddings
    backbone: float = 0.1  # share of the rate for MatAnyone's trunks, which start trained
    clip: float = 3.0
    mixed: bool = True  # bfloat16 where it is safe; MatAnyone was trained without
    device: str = "cpu"


class StrategyTrainer:
    """A follower, the stages it is to go through, and everything that a checkpoint holds."""

    def __init__(self, follower: Follower, stages: Stages, material: Material, options: Options) -> None:
        self.stages, self.options, self._material = stages, options, material
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.follower, self.net = follower, follower.net.to(options.device)
        self.averaged = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self._parameters = list(self.net.parameters())
        self.optimiser = torch.optim.AdamW(_groups(self.net, options))
        self.total = sum(stage.steps for stage in stages)
        self.step = 0

    def run(self, progress: Callable[[int, str, float], None], until: float = math.inf) -> None:
        """Trains to the end or until `until` on the monotonic clock; `progress` gets (step, stage, loss).

        Saves on a timer and at the end. All processes stop and save at the same step.
        """
        saved_at, sums = time.monotonic(), dict[str, float]()
        for stage, within in self._remaining():
            for name, value in self._iteration(stage, within).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            if self.step % self.options.log_every == 0:
                means = {name: total / self.options.log_every for name, total in sums.items()}
                if self.rank == 0:
                    log_means(self.options.out, self.step, stage.name, means)
                progress(self.step, stage.name, sum(means.values()))
                sums.clear()
                now = time.monotonic()
                stop, save = self._agreed(now >= until, now - saved_at >= self.options.save_every)
                if stop or save:
                    self.save()
                    saved_at = now
                if stop:
                    return
        self.save()

    def resume(self) -> bool:
        """Goes on from the checkpoint in the output folder; False when there is none.

        Lines of the log past the checkpoint are taken off: those steps come again.
        """
        path = self.options.out / CHECKPOINT
        if not path.exists():
            return False
        saved = torch.load(path, map_location=self.options.device, weights_only=True)
        self.net.load_state_dict(saved["net"])
        self.averaged = saved["averaged"]
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step = saved["step"]
        if self.rank == 0:
            cut_log(self.options.out, self.step)
        return True

    def save(self) -> None:
        """Writes the resumable checkpoint and the averaged weights, each written beside and renamed.

        Only process 0 writes. The averaged file is one for `python -m export`.
        """
        if self.rank:
            return
        whole = {
            "net": self.net.state_dict(),
            "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        write_then_rename(whole, self.options.out / CHECKPOINT)
        write_then_rename(self.follower.packed(self.averaged), self.options.out / AVERAGED)

    def _remaining(self) -> Iterator[tuple[Stage, int]]:
        start = 0
        for stage in self.stages:
            for within in range(max(0, self.step - start), stage.steps):
                yield stage, within
            start += stage.steps

    def _iteration(self, stage: Stage, within: int) -> dict[str, float]:
        """One iteration: a matting pass, a segmentation pass and, in later stages, core supervision."""
        self.net.train()
        stage = stage.at(within)
        for group in self.optimiser.param_groups:
            group["lr"] = stage.rate * group["share"]
        weighing, still = stage.weighing, stage.matting == "stills"
        batch = self._material.matting(stage, self._seed(0))
        clamped = within >= stage.unclamped
        answers, _ = self._answers(batch, stage, "matting", 0)
        parts = passes.matting(answers, batch.truth, weighing, clamped=clamped, still=still)
        report = self._descend("matting", parts, still=still)

        batch = self._material.masked(stage, self._seed(1), still=self.step % 2 == 1)
        answers, generator = self._answers(batch, stage, "segmentation", 1)
        parts = passes.segment(answers, batch.truth, weighing, still=batch.still, generator=generator)
        report |= self._descend("segmentation", parts, still=batch.still)
        if stage.core:
            answers, generator = self._answers(batch, stage, "matting", 2)
            parts = passes.core(answers, batch.frames, batch.truth, weighing, generator=generator)
            report |= self._descend("core", parts, still=batch.still)
        average_towards(self.averaged, self.net.state_dict(), decay=self.options.averaging, step=self.step)
        return report

    def _answers(self, batch: Batch, stage: Stage, head: Head, number: int) -> tuple[Answers, torch.Generator]:
        """The follower's answers along a random course, and the generator for what else the pass draws."""
        generator = torch.Generator().manual_seed(self._seed(number))
        # One course for all processes: none of them then waits for another's longer one.
        shared = torch.Generator().manual_seed(self._seed(number, rank=0))
        course = draw_course(batch.frames.shape[1], generator=shared, fused=stage.fused)
        with torch.autocast(batch.frames.device.type, dtype=torch.bfloat16, enabled=self.options.mixed):
            return self.follower(batch.frames, batch.mask, course, head), generator

    def _descend(self, name: str, parts: Parts, *, still: bool) -> dict[str, float]:
        """One optimiser step; from stills the change predictor learns nothing."""
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        if still:
            for parameter in self.follower.change_parameters():
                parameter.grad = None
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._share(gradients)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.options.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        return {f"{name} {part}": float(value.detach()) for part, value in parts.items()}

    def _share(self, gradients: list[Tensor]) -> None:
        """Replaces gradients by their mean over all processes.

        Not DistributedDataParallel: three passes an iteration use different heads, and it asks for one.
        """
        if self.world == 1:
            return
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        parts = torch.split(together.div_(self.world), [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _seed(self, number: int, *, rank: int | None = None) -> int:
        """A seed of this step's pass `number`, another in each process."""
        place = (self.options.seed, self.step, self.rank if rank is None else rank, number)
        mixed = 0
        for part in place:
            mixed = (mixed * 1_000_003 + part + 1) % _LARGEST_SEED
        return mixed

    def _agreed(self, *wishes: bool) -> list[bool]:
        """What process 0 wishes."""
        if self.world == 1:
            return list(wishes)
        flags = torch.tensor([float(wish) for wish in wishes], device=self.options.device)
        dist.broadcast(flags, 0)
        return [bool(flag) for flag in flags.tolist()]


def _groups(net: nn.Module, options: Options) -> list[dict[str, Any]]:
    """Parameters by weight decay (none on norms, biases and embeddings) and by share of the rate (less on trunks)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    embeddings = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in net.named_parameters():
        plain = parameter.ndim < 2 or id(parameter) in embeddings
        share = options.backbone if name.startswith("pixel_encoder.") else 1.0
        groups.setdefault((0.0 if plain else options.weight_decay, share), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "share": share} for (decay, share), parameters in groups.items()
    ]
