"""lite as a follower. Its logits at a quarter of the size, which only training uses, are its segmentation head."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmatte.network import lite_step
from rtmatte.network.lite import Bank, Decoded, Features, Last, Lite
from training import checkpoint
from training.follow import Answers, Course, Head

Entry = tuple[Tensor, Tensor]  # key and value of one frame as tokens [B,P,C]


class LiteFollower(nn.Module):
    """Runs lite as `Follower` describes; its widths are kept in checkpoints. It has no deep updates."""

    def __init__(self, net: Lite) -> None:
        super().__init__()
        self.net = net

    def packed(self, weights: dict[str, Tensor]) -> dict[str, Any]:
        return checkpoint.packed(self.net, weights)

    def change_parameters(self) -> Iterable[nn.Parameter]:
        reader = self.net.reader
        parts = (reader.of_key, reader.of_last_key, reader.of_alpha, reader.of_difference, reader.change)
        return [parameter for part in parts for parameter in part.parameters()]

    def forward(self, frames: Tensor, mask: Tensor, course: Course, head: Head) -> Answers:
        net, batch = self.net, len(frames)
        encoded = net.encoder(frames.transpose(0, 1).flatten(0, 1))
        features = [Features(*parts) for parts in zip(*(maps.split(batch) for maps in encoded), strict=True)]

        last = _seeded(net, features[0], mask)
        decoded = net.decoder(features[0], last.value, last.value, last)
        read, outputs, changes = [last.value[:, :1]], [decoded], []
        last = _followed(net, features[0], decoded, head)
        entries = [_entry(last)]
        for now, references in zip(features[1:], course.references[1:], strict=True):
            memory, fused, change = net.reader(now.key, _bank([entries[n] for n in references]), last)
            decoded = net.decoder(now, memory, fused if course.fused else memory, last)
            last = _followed(net, now, decoded, head)
            entries.append(_entry(last))
            outputs.append(decoded)
            read.append(memory[:, :1])
            changes.append(change.sigmoid())
        raw = torch.stack([o.raw if head == "matting" else _segmented(o) for o in outputs], 1)
        coarse = torch.stack([o.coarse16.sigmoid() for o in outputs], 1)
        return Answers(raw.float(), (coarse.float(), torch.stack(read, 1).float()), torch.stack(changes, 1).float())


def open_lite(start: Path | None) -> LiteFollower:
    """Returns lite with the weights of the checkpoint `start`, or untrained; ModelError when it is no such file."""
    return LiteFollower(lite_step.read(start) if start else Lite())


def _seeded(net: Lite, features: Features, mask: Tensor) -> Last:
    half = F.avg_pool2d(mask, 2)
    batch, _, h, w = features.key.shape
    memory16 = mask.new_zeros(batch, net.widths.memory16, h, w)
    memory8 = mask.new_zeros(batch, net.widths.memory8, 2 * h, 2 * w)
    return Last(half, features.key, net.value(features.f16, half), memory16, memory8)


def _followed(net: Lite, features: Features, decoded: Decoded, head: Head) -> Last:
    """What is remembered of a frame, with the alpha of the head in use."""
    alpha = decoded.raw.clamp(0, 1) if head == "matting" else _segmented(decoded).sigmoid()
    half = F.avg_pool2d(alpha.float(), 2)
    return Last(half, features.key, net.value(features.f16, half), decoded.memory16, decoded.memory8)


def _segmented(decoded: Decoded) -> Tensor:
    return F.interpolate(decoded.coarse4, scale_factor=4.0, mode="bilinear", align_corners=False)


def _entry(last: Last) -> Entry:
    return last.key.flatten(2).transpose(1, 2), last.value.flatten(2).transpose(1, 2)


def _bank(entries: list[Entry]) -> Bank:
    keys, values = zip(*entries, strict=True)
    key = torch.stack(keys, 1)
    return Bank(key, torch.stack(values, 1), torch.ones(key.shape[:2], device=key.device))
