"""MatAnyone as a follower: the runtime's parts in the runtime's order, with the heads that only training uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone import weights as files
from rtmatte.network.matanyone.encoder import Features, Keys
from rtmatte.network.matanyone.heads import class_probabilities
from rtmatte.network.matanyone.memory import Bank, MemoryReader, Read
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.network.matanyone.protocol import STRIDE
from rtmatte.network.matanyone.step import MEAN, STD
from rtmatte.network.matanyone.tokens import to_tokens
from training.follow import Answers, Course, Head


class _Seen(NamedTuple):
    """What the encoders make of one frame, whatever is remembered."""

    features: Features
    pix_feat: Tensor
    keys: Keys


class _Entry(NamedTuple):
    """One remembered frame: its place in the bank and in the object memory."""

    key: Tensor  # [B,P,64]
    shrinkage: Tensor  # [B,P]
    value: Tensor  # [B,P,256]
    summary: Tensor  # [B,16,257]


class _Output(NamedTuple):
    """One frame's answer and the sensory state after its decoder."""

    raw: Tensor  # [B,1,H,W]
    alpha: Tensor  # [B,1,H,W] in 0..1, fed back
    sensory: Tensor
    auxiliary: Tensor  # [B,5,h,w]: the recurrent state's head, and the queries before and after each block


@dataclass(slots=True)
class _Memory:
    """The recurrent state between two frames."""

    entries: list[_Entry]
    sensory: Tensor
    value: Tensor
    pix_feat: Tensor
    alpha: Tensor  # [B,1,h,w]


class MatAnyoneFollower(nn.Module):
    """Runs MatAnyone as `Follower` describes; `read` is the memory's, the whole bank when it is not said."""

    def __init__(self, net: MatAnyone | None = None, *, read: Read = "full") -> None:
        super().__init__()
        self.net = net or MatAnyone()
        self.reader = MemoryReader(read)

    def packed(self, weights: dict[str, Tensor]) -> dict[str, Any]:
        return {"weights": weights}

    def change_parameters(self) -> Iterable[nn.Parameter]:
        return self.net.temp_sparity.parameters()

    def forward(self, frames: Tensor, mask: Tensor, course: Course, head: Head) -> Answers:
        seen = self._encoded(frames)
        memory = self._seeded(seen[0], mask)
        outputs, changes = [self._decoded(seen[0], memory, memory.value, memory.entries, head)], []
        self._remember(seen[0], memory, outputs[0].alpha, outputs[0].sensory, deep=True)
        memory.entries = memory.entries[1:]  # the second pass over the first frame takes the place of the mask's
        for now, references, deep in zip(seen[1:], course.references[1:], course.deep[1:], strict=True):
            entries = [memory.entries[n] for n in references]
            read = self.reader(now.keys, _bank(entries))
            change = self.net.temp_sparity(memory.pix_feat, now.pix_feat, memory.alpha, read - memory.value)
            value = read * change + memory.value * (1 - change) if course.fused else read
            outputs.append(self._decoded(now, memory, value, entries, head))
            self._remember(now, memory, outputs[-1].alpha, outputs[-1].sensory, deep=deep)
            changes.append(change)
        raw, auxiliary = torch.stack([o.raw for o in outputs], 1), torch.stack([o.auxiliary for o in outputs], 1)
        return Answers(raw.float(), (auxiliary.float(),), torch.stack(changes, 1).float())

    def _encoded(self, frames: Tensor) -> list[_Seen]:
        net, batch = self.net, len(frames)
        mean, std = (frames.new_tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
        features = net.pixel_encoder((frames.transpose(0, 1).flatten(0, 1) - mean) / std)
        pix_feat, keys = net.pix_feat_proj(features.f16), net.key_proj(features.f16)
        per_frame = [zip(*(maps.split(batch) for maps in group), strict=True) for group in (features, keys)]
        parts = zip(per_frame[0], pix_feat.split(batch), per_frame[1], strict=True)
        return [_Seen(Features(*f), pix, Keys(*k)) for f, pix, k in parts]

    def _seeded(self, seen: _Seen, mask: Tensor) -> _Memory:
        empty = torch.zeros_like(seen.pix_feat)
        memory = _Memory([], empty, empty, seen.pix_feat, F.avg_pool2d(mask, STRIDE))
        self._remember(seen, memory, mask, empty, deep=True)
        return memory

    def _decoded(self, seen: _Seen, memory: _Memory, value: Tensor, entries: list[_Entry], head: Head) -> _Output:
        net = self.net
        h, w = seen.pix_feat.shape[-2:]
        fused = net.pixel_fuser(seen.pix_feat, value, memory.sensory, memory.alpha)
        object_memory = torch.stack([entry.summary for entry in entries]).sum(0)
        position = net.object_transformer.spatial_pe.table(h, w)
        readout, queries = net.object_transformer.with_logits(fused, object_memory, position)
        recurrent = net.aux_computer.sensory_aux(memory.sensory, seen.pix_feat)
        decode = net.mask_decoder if head == "matting" else net.mask_decoder.segment
        raw, sensory = decode(seen.features, readout, memory.sensory)
        alpha = raw.clamp(0, 1) if head == "matting" else raw.sigmoid()
        heads = torch.cat([recurrent, queries], 1)
        auxiliary = class_probabilities(heads.flatten(0, 1)[:, None])[:, 1].view_as(heads)
        return _Output(raw, alpha, sensory, auxiliary)

    def _remember(self, seen: _Seen, memory: _Memory, alpha: Tensor, sensory: Tensor, *, deep: bool) -> None:
        """Replaces the state by that after a frame; the frame becomes an entry that later ones may be given."""
        net = self.net
        value = net.mask_encoder(seen.features.f1, alpha, seen.pix_feat)
        coarse = F.avg_pool2d(alpha, STRIDE)
        position = net.object_summarizer.pos_enc.table(*value.shape[-2:])
        summary = net.object_summarizer(value, coarse, position)
        keys = seen.keys
        memory.entries.append(_Entry(to_tokens(keys.key), keys.shrinkage.flatten(1), to_tokens(value), summary))
        memory.sensory = net.mask_encoder.sensory_update(value, sensory) if deep else sensory
        memory.value, memory.pix_feat, memory.alpha = value, seen.pix_feat, coarse


def open_matanyone(start: Path | None) -> MatAnyoneFollower:
    """Returns MatAnyone with the weights of `start`, or untrained; ModelError when it is no such file."""
    return MatAnyoneFollower(None if start is None else files.load(start).net.requires_grad_(True))


def _bank(entries: list[_Entry]) -> Bank:
    key, shrinkage, value, _ = (torch.stack(parts, 1) for parts in zip(*entries, strict=True))
    return Bank(key, shrinkage, value, torch.ones(key.shape[:2], device=key.device))
