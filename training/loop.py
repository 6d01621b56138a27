"""The training loop: phases, optimiser, averaged weights, checkpoints on a timer, one process per core or GPU.

Started by `python -m training`, alone or under torchrun; every process makes its own clips.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rtmatte.network import lite_step
from rtmatte.network.lite import Lite, Widths
from training import losses
from training.checkpoint import packed, write_then_rename
from training.data.clips import Clip, ClipOptions
from training.recipes import Phase
from training.run_folder import AVERAGED, CHECKPOINT, average_towards, cut_log, log_means
from training.unroll import Plan, Unrolled, draw_plan, unroll

LARGEST_STEP = 1_000_000_000  # seeds of one run, so that another run's are others


@dataclass(frozen=True, slots=True)
class Options:
    """How to run; what is learnt is the recipe's business."""

    out: Path
    seed: int = 0
    save_every: float = 180.0  # seconds
    log_every: int = 20  # steps
    weight_decay: float = 1e-3
    clip: float = 2.0
    device: str = "cpu"


class Trainee(nn.Module):
    """The network and its losses as one module, so that DistributedDataParallel sees one forward per step."""

    def __init__(self, net: Lite) -> None:
        super().__init__()
        self.net = net

    def forward(self, clip: Clip, plan: Plan, phase: Phase) -> tuple[Tensor, dict[str, Tensor]]:
        kind = clip.frames.device.type
        with torch.autocast(kind, dtype=torch.bfloat16):
            answers = unroll(self.net, clip.frames, clip.mask, plan)
        parts = loss_parts(answers, clip, phase)
        return torch.stack(list(parts.values())).sum(), parts


def loss_parts(answers: Unrolled, clip: Clip, phase: Phase) -> dict[str, Tensor]:
    """Returns every weighted part of the loss by name; their sum is minimised."""
    truth = clip.alpha
    value = losses.one_sided(answers.raw, truth)
    weight = 1 + phase.edge * losses.edge_band(truth)
    weight[:, 0] *= 2  # the first frame anchors the bank
    cell16, cell4 = losses.cells(truth, 16), losses.cells(truth, 4)
    seen = clip.visible[:, 1:, None, None, None].float()
    has_mask = (clip.mask.amax((1, 2, 3)) >= 0).view(-1, 1, 1, 1, 1).float()
    return {
        "l1": losses.weighted_l1(value, truth, weight),
        "l2": 2 * losses.squared(value, truth),
        "pyramid": losses.laplacian(value, truth),
        "temporal": 5 * losses.temporal(value, truth),
        "coarse": phase.coarse
        * (losses.logits_against(answers.coarse16, cell16) + losses.logits_against(answers.coarse4, cell4)),
        "read": phase.read * losses.probability_against(answers.read, cell16[:, 1:], seen * (0.5 + 0.5 * has_mask)),
        "change": 0.03 * losses.logits_against(answers.change, losses.changed(truth)),
    }


class Trainer:
    """Everything that a checkpoint holds, and the step."""

    def __init__(self, phases: tuple[Phase, ...], options: Options, widths: Widths) -> None:
        self.phases, self.options = phases, options
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        torch.manual_seed(options.seed)
        self.net = Lite(widths).to(options.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.averaged = Lite(widths).to(options.device)
        self.averaged.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=options.weight_decay)
        self.shared = torch.Generator().manual_seed(options.seed)  # sizes: alike in all processes, so none waits
        self.generator = torch.Generator().manual_seed(options.seed * 1000 + self.rank + 1)
        trainee = Trainee(self.net)
        self.trainee: nn.Module = DistributedDataParallel(trainee) if self.world > 1 else trainee
        self.step_number = 0

    def run(
        self,
        make: Callable[[ClipOptions, int], Clip],
        progress: Callable[[int, str, dict[str, float]], None],
        until: float = math.inf,
    ) -> None:
        """Trains on what `make(options, seed)` makes, to the end or until `until` on the monotonic clock.

        Saves on a timer and at the end; `progress` gets (step, phase, mean parts of the loss).
        """
        saved_at = time.monotonic()
        sums: dict[str, float] = {}
        for phase, fraction in self._remaining():
            parts = self._step(make, phase, fraction)
            self.step_number += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            if self.step_number % self.options.log_every == 0:
                means = {name: total / self.options.log_every for name, total in sums.items()}
                sums.clear()
                if self.rank == 0:
                    log_means(self.options.out, self.step_number, phase.name, means)
                progress(self.step_number, phase.name, means)
                now = time.monotonic()  # only between two lines of the log, so that no line is of half its steps
                stop = self._agree(now >= until)
                if stop or self._agree(now - saved_at >= self.options.save_every):
                    self.save()
                    saved_at = time.monotonic()
                if stop:
                    return
        self.save()

    def _agree(self, wish: bool) -> bool:
        """Whether process 0 wishes it."""
        if self.world == 1:
            return wish
        flag = torch.tensor([float(wish)])
        dist.broadcast(flag, 0)
        return bool(flag.item())

    def past(self) -> Iterator[tuple[ClipOptions, int]]:
        """Yields what every step so far asked `make` for, in order: a resumed run has to tell its pool."""
        drawn = torch.Generator().manual_seed(self.options.seed)
        each = (phase for phase in self.phases for _ in range(phase.steps))
        for step, phase in enumerate(islice(each, self.step_number)):
            yield self.draw_options(phase, drawn), self._seed(step)

    def _seed(self, step: int) -> int:
        return self.options.seed * LARGEST_STEP + step

    def _remaining(self) -> Iterator[tuple[Phase, float]]:
        start = 0
        for phase in self.phases:
            for step in range(max(0, self.step_number - start), phase.steps):
                yield phase, step / phase.steps
            start += phase.steps

    def _step(self, make: Callable[[ClipOptions, int], Clip], phase: Phase, fraction: float) -> dict[str, Tensor]:
        self.net.train()
        if phase.average_anew and fraction == 0:
            self.averaged.load_state_dict(self.net.state_dict())
        if phase.freeze_norm:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        high, low = phase.rate
        rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * fraction))
        warm = min(1.0, (self.step_number + 1) / 100)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * warm
        options = self.draw_options(phase, self.shared)
        clip = make(options, self._seed(self.step_number))
        plan = draw_plan(
            options.batch,
            options.frames,
            bank_only=phase.bank_only,
            drop=phase.drop,
            spoil=phase.spoil,
            laps=self._laps(phase),
            generator=self.generator,
            device=self.options.device,
        )
        loss, parts = self.trainee(clip, plan, phase)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            weights = self.averaged.state_dict(), self.net.state_dict()
            average_towards(*weights, decay=phase.averaging, step=self.step_number)
        return {name: part.detach() for name, part in parts.items()}

    def _laps(self, phase: Phase) -> int:
        """Returns how often this step's clip is rehearsed: alike in all processes, so that none waits."""
        drawn = torch.Generator().manual_seed(self._seed(self.step_number))
        chosen = bool(torch.rand((), generator=drawn) < phase.rehearse)
        return int(torch.randint(1, 4, (), generator=drawn)) if chosen else 0

    def draw_options(self, phase: Phase, generator: torch.Generator) -> ClipOptions:
        """Returns what a step of `phase` asks for: a size, a clip length, and the batch that fits its budget."""

        def number(low: int, high: int) -> int:
            return int(torch.randint(low, high + 1, (), generator=generator))

        shares = torch.tensor([share for share, _ in phase.sizes])
        sizes = phase.sizes[int(torch.multinomial(shares, 1, generator=generator))][1]
        height, width = sizes[number(0, len(sizes) - 1)]
        low, high = phase.frames
        fits = max(1, phase.pixels // (height * width))  # frames of this size in one step
        frames = min(number(low, high), max(low, fits))
        return replace(phase.data, height=height, width=width, frames=frames, batch=max(1, fits // frames))

    def save(self) -> None:
        """Writes the resumable checkpoint and the averaged weights, each written beside and renamed."""
        rngs: list[Any] = [None] * self.world
        mine = {"shared": self.shared.get_state(), "plan": self.generator.get_state(), "torch": torch.get_rng_state()}
        if self.world > 1:
            dist.all_gather_object(rngs, mine)
        else:
            rngs = [mine]
        if self.rank:
            return
        out = self.options.out
        whole = packed(self.net) | {
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step_number,
            "rngs": rngs,
        }
        write_then_rename(whole, out / CHECKPOINT)
        write_then_rename(packed(self.averaged), out / AVERAGED)

    def start_from(self, weights: Path) -> None:
        """Takes the weights of an earlier run, and nothing else of it; a checkpoint to resume takes precedence."""
        saved = lite_step.read(weights).state_dict()
        self.net.load_state_dict(saved)
        self.averaged.load_state_dict(saved)

    def resume(self) -> bool:
        """Goes on from the checkpoint in the output folder; False when there is none.

        Lines of the log past the checkpoint are taken off: those steps come again.
        """
        path = self.options.out / CHECKPOINT
        if not path.exists():
            return False
        saved = torch.load(path, map_location=self.options.device, weights_only=True)
        self.net.load_state_dict(saved["net"])
        self.averaged.load_state_dict(saved["averaged"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step_number = saved["step"]
        if len(saved["rngs"]) == self.world:
            mine = saved["rngs"][self.rank]
            self.shared.set_state(mine["shared"].cpu())
            self.generator.set_state(mine["plan"].cpu())
            torch.set_rng_state(mine["torch"].cpu())
        if self.rank == 0:
            cut_log(self.options.out, self.step_number)
        return True
