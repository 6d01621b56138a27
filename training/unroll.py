"""Runs lite over a made clip as the runtime will: seed, warm-up passes, then frame by frame with the bank.

It differs from the runtime on purpose where training needs it: parts of the state are dropped or spoiled at random,
and the bank is read alone in part of the clips, so that the network cannot live by propagating its last alpha. Some
clips are rehearsed: played to and fro before anything is judged, so that the network also learns from states that it
has brought upon itself, as in minutes of use.
Shapes: B clips, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmatte.network.lite import Bank, Decoded, Features, Last, Lite


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What happens in one unroll; drawn by `draw_plan`, the same for every process's graph shape."""

    settles: int  # warm-up passes, 1 or 2
    laps: int  # times the clip is played forwards and backwards before it is judged
    write_every: int
    slots: int
    detach_every: int
    bank_only: Tensor  # bool [B]: U = 1 and nothing of the last frame, ever
    dropped: Tensor  # bool [B,T]: before this frame all that is remembered of the last one is lost
    spoiled: Tensor  # bool [B,T]: the alpha fed back is damaged


@dataclass(frozen=True, slots=True, eq=False)
class Unrolled:
    """Everything the losses look at; frame 0 is the last warm-up pass."""

    raw: Tensor  # [B,T,1,H,W]
    coarse16: Tensor  # [B,T,1,h,w] logits
    coarse4: Tensor  # [B,T,1,H/4,W/4] logits
    read: Tensor  # [B,T-1,1,h,w] alpha read from the bank
    change: Tensor  # [B,T-1,1,h,w] logits of U


def draw_plan(
    batch: int,
    frames: int,
    *,
    bank_only: float,
    drop: float,
    spoil: float,
    laps: int = 0,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Plan:
    """Returns a random plan: every probability is per clip; a chosen clip is dropped or spoiled at random frames."""

    def chance(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    dropping = (chance(batch, 1) < drop) & (chance(batch, frames) < 1.5 / max(2, frames - 1))
    spoiling = (chance(batch, 1) < spoil) & (chance(batch, frames) < 0.5)
    return Plan(
        settles=number(1, 2),
        laps=laps,
        write_every=number(1, 5),
        slots=number(2, 4),
        detach_every=6,
        bank_only=(chance(batch) < bank_only).to(device),
        dropped=dropping.to(device),
        spoiled=spoiling.to(device),
    )


def unroll(net: Lite, frames: Tensor, mask: Tensor, plan: Plan) -> Unrolled:
    """Returns the network's answers to `frames` [B,T,3,H,W], 0..1, started from `mask` [B,1,H,W]."""
    batch, count = frames.shape[:2]
    time_major = frames.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    features = (f.split(batch) for f in net.encoder(time_major))
    per_frame = [Features(*parts) for parts in zip(*features, strict=True)]

    last = _first(net, per_frame[0], mask)
    outputs: list[Decoded] = []
    for _ in range(plan.settles):
        settled = net.decoder(per_frame[0], last.value, last.value, last)
        last = _remember(net, per_frame[0], settled, settled.raw.clamp(0, 1))
    outputs.append(settled)

    memory = _Memory([(_tokens(last.key), _tokens(last.value))], plan)
    if plan.laps:
        last = _rehearsed(net, per_frame, memory, last, plan.laps)
    reads, changes = [], []
    for t in range(1, count):
        if t % plan.detach_every == 0:
            last = Last(*(s.detach() for s in last))
        last = _lose(last, plan.dropped[:, t] | plan.bank_only)
        read, fused, change = net.reader(per_frame[t].key, memory.bank(), last)
        alone = plan.bank_only.view(-1, 1, 1, 1)
        decoded = net.decoder(per_frame[t], read, torch.where(alone, read, fused), last)
        fed_back = _spoil(decoded.raw.clamp(0, 1), plan.spoiled[:, t])
        last = _remember(net, per_frame[t], decoded, fed_back)
        memory.note(last)
        outputs.append(decoded)
        reads.append(read[:, :1].float())
        changes.append(change.float())
    return Unrolled(
        raw=torch.stack([o.raw.float() for o in outputs], 1),
        coarse16=torch.stack([o.coarse16.float() for o in outputs], 1),
        coarse4=torch.stack([o.coarse4.float() for o in outputs], 1),
        read=torch.stack(reads, 1),
        change=torch.stack(changes, 1),
    )


class _Memory:
    """The bank as a list of slots: the first frame for ever, then a ring; every `write_every`-th frame is stored."""

    def __init__(self, slots: list[tuple[Tensor, Tensor]], plan: Plan) -> None:
        self._slots, self._plan, self._seen = slots, plan, 0

    def note(self, last: Last) -> None:
        """Stores the frame if it is its turn."""
        self._seen += 1
        if self._seen % self._plan.write_every == 0:
            recent = self._slots[1:][-(self._plan.slots - 2) :] if self._plan.slots > 2 else []
            self._slots = [self._slots[0], *recent, (_tokens(last.key), _tokens(last.value))]

    def bank(self) -> Bank:
        keys, values = zip(*self._slots, strict=True)
        key = torch.stack(keys, 1)
        return Bank(key, torch.stack(values, 1), key.new_ones(key.shape[0], len(self._slots), dtype=torch.float32))


@torch.no_grad()
def _rehearsed(net: Lite, per_frame: list[Features], memory: _Memory, last: Last, laps: int) -> Last:
    """Returns what is remembered once the clip has been played to its end and back `laps` times."""
    count = len(per_frame)
    for t in [*range(1, count), *range(count - 2, -1, -1)] * laps:
        read, fused, _ = net.reader(per_frame[t].key, memory.bank(), last)
        decoded = net.decoder(per_frame[t], read, fused, last)
        last = _remember(net, per_frame[t], decoded, decoded.raw.clamp(0, 1))
        memory.note(last)
    return last


def _first(net: Lite, features: Features, mask: Tensor) -> Last:
    """The seed: the value of the given mask, empty recurrent memories."""
    half = F.avg_pool2d(mask, 2)
    batch, _, h, w = features.key.shape
    memory16 = mask.new_zeros(batch, net.widths.memory16, h, w)
    memory8 = mask.new_zeros(batch, net.widths.memory8, h * 2, w * 2)
    return Last(half, features.key, net.value(features.f16, half), memory16, memory8)


def _remember(net: Lite, features: Features, decoded: Decoded, alpha: Tensor) -> Last:
    half = F.avg_pool2d(alpha.float(), 2)
    value = net.value(features.f16, half)
    return Last(half, features.key, value, decoded.memory16, decoded.memory8)


def _lose(last: Last, lost_B: Tensor) -> Last:
    lost = lost_B.view(-1, 1, 1, 1)
    return Last(*(torch.where(lost, torch.zeros_like(s), s) for s in last))


def _tokens(map_BChw: Tensor) -> Tensor:
    return map_BChw.flatten(2).transpose(1, 2)


def _spoil(alpha: Tensor, spoiled_B: Tensor) -> Tensor:
    """Damages the alpha of the chosen rows: grown, shrunk, blurred, shifted or with a hole, one kind per row."""
    damaged = alpha
    for row in spoiled_B.nonzero().flatten().tolist():
        kind = int(torch.randint(0, 5, ()))
        one = alpha[row : row + 1]
        size = 2 * int(torch.randint(1, 5, ())) + 1
        if kind == 0:
            worse = F.max_pool2d(one, size, 1, size // 2)
        elif kind == 1:
            worse = -F.max_pool2d(-one, size, 1, size // 2)
        elif kind == 2:
            worse = F.avg_pool2d(one, size, 1, size // 2)
        elif kind == 3:
            dy, dx = (int(v) for v in torch.randint(-8, 9, (2,)))
            worse = torch.roll(one, (dy, dx), (2, 3))
        else:
            h, w = one.shape[-2:]
            noise = F.interpolate(torch.rand(1, 1, 4, 6), size=(h, w), mode="bilinear", align_corners=False)
            worse = one * (noise > 0.35).to(one)
        damaged = torch.cat([damaged[:row], worse, damaged[row + 1 :]])
    return damaged
