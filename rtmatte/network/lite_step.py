"""lite as one `step`: the gates of the contract around the network's parts, and its state tensors.

Shapes as in `lite.py`; h x w and P belong to the padded frame.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rtmatte.contract import ALPHA, FRAME, MASK, SEED, SETTLE, WRITE, Contract, DType, TensorSpec
from rtmatte.errors import ModelError
from rtmatte.network.gates import cleared, stored, where_row
from rtmatte.network.half import Float32
from rtmatte.network.lite import STRIDE, Bank, Decoded, Last, Lite, Widths

SLOTS = 2
WRITE_EVERY = 5
STATES = ("bank_key", "bank_value", "bank_valid", "last_alpha", "last_key", "last_value", "memory16", "memory8")
HALVED = frozenset(STATES) - {"bank_valid"}  # float16 in half precision


def contract_of(
    net: Lite, *, width: int, height: int, slots: int = SLOTS, batch: int = 1, frame_dtype: DType = "uint8"
) -> Contract:
    """Returns the contract of a step of `net` for frames of `width` x `height` (any size; padding is inside)."""
    w = net.widths
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    cells = rows * columns
    shapes = {
        "bank_key": (slots, cells, w.key),
        "bank_value": (slots, cells, w.value),
        "bank_valid": (slots,),
        "last_alpha": (1, rows * 8, columns * 8),
        "last_key": (w.key, rows, columns),
        "last_value": (w.value, rows, columns),
        "memory16": (w.memory16, rows, columns),
        "memory8": (w.memory8, rows * 2, columns * 2),
    }
    return Contract(
        model="lite",
        role="step",
        inputs=(
            TensorSpec(FRAME, (batch, height, width, 3), frame_dtype),
            TensorSpec(MASK, (batch, 1, height, width)),
            TensorSpec(SEED, (batch, 1)),
            TensorSpec(SETTLE, (batch, 1)),
            TensorSpec(WRITE, (batch, slots)),
        ),
        states=tuple(TensorSpec(name, (batch, *shapes[name])) for name in STATES),
        outputs=(TensorSpec(ALPHA, (batch, 1, height, width)),),
        slots=slots,
        write_every=WRITE_EVERY,
        warmup=1,
        licence="MIT",
    )


class LiteStep(nn.Module):
    """One call of lite with its gates, for frames of one size; what is exported and what the eager backend runs."""

    def __init__(self, net: Lite, *, width: int, height: int) -> None:
        super().__init__()
        self.net = net
        down, right = -height % STRIDE, -width % STRIDE
        self.size = (width, height)
        self.padding = (right // 2, right - right // 2, down // 2, down - down // 2)

    def forward(
        self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, write: Tensor, *states: Tensor
    ) -> tuple[Tensor, ...]:
        """Returns (alpha [B,1,H,W], *next states in the order of STATES).

        `frame` [B,H,W,3] uint8 or float32 0..255, `mask` [B,1,H,W], `seed` and `settle` [B,1], `write` [B,T].
        """
        net = self.net
        state = dict(zip(STATES, (cleared(seed, s) for s in states), strict=True))
        image = self._pad(frame.float().permute(0, 3, 1, 2)) * (1 / 255)
        features = net.encoder(image.to(states[0].dtype))
        bank = Bank(state["bank_key"], state["bank_value"], state["bank_valid"])
        last = Last(*(state[n] for n in ("last_alpha", "last_key", "last_value", "memory16", "memory8")))

        # Reading, and what decides on it, is float32 in any precision.
        read = net.reader(features.key, Bank(*(s.float() for s in bank)), Last(*(s.float() for s in last)))
        memory = where_row(settle, last.value, read.memory.to(last.value.dtype))
        fused = where_row(settle, last.value, read.fused.to(last.value.dtype))
        decoded: Decoded = net.decoder(features, memory, fused, last)
        alpha = where_row(seed, self._pad(mask), decoded.raw.clamp(0, 1))
        memory16 = cleared(seed, decoded.memory16)
        memory8 = cleared(seed, decoded.memory8)

        half = F.avg_pool2d(alpha, 2).to(last.alpha.dtype)
        value = net.value(features.f16, half)
        start = torch.maximum(seed, settle)
        key = features.key.to(last.key.dtype)
        tokens = [t.flatten(2).transpose(1, 2) for t in (key, value)]
        kept = [stored(start, write, old, new) for old, new in zip(bank[:2], tokens, strict=True)]
        valid = stored(start, write, bank.valid, torch.ones_like(seed[:, 0]))
        return self._crop(alpha), *kept, valid, half, key, value, memory16, memory8

    def _pad(self, image: Tensor) -> Tensor:
        return F.pad(image, self.padding) if any(self.padding) else image

    def _crop(self, alpha: Tensor) -> Tensor:
        (left, _, top, _), (width, height) = self.padding, self.size
        return alpha[:, :, top : top + height, left : left + width]


def load(path: Path) -> Lite:
    """Returns the network of a checkpoint made by `training`, folded and in inference mode; errors as `read`."""
    return fold(read(path).eval())


def read(path: Path) -> Lite:
    """Returns the network of a checkpoint made by `training` as it was trained, its norms unfolded.

    Raises ModelError for a file that is missing, damaged, or not a checkpoint of lite.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        net = Lite(Widths.from_dict(saved["widths"]))
        net.load_state_dict(saved["net"])
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint of lite ({error}); make one with `python -m training`") from error
    return net


def in_half(step: LiteStep) -> None:
    """Turns a step into one that computes in float16, in place; reading and the last layer stay in float32."""
    reader, head = deepcopy(step.net.reader), deepcopy(step.net.decoder.head)
    step.net.half()
    step.net.reader = reader
    step.net.decoder.head = Float32(head)  # type: ignore[assignment]


def fold(net: Lite) -> Lite:
    """Returns `net` with every batch norm folded into the convolution before it (in place); inference only."""
    for parent in net.modules():
        for name, child in parent.named_children():
            match list(child.children()):
                case [nn.Conv2d() as conv, nn.BatchNorm2d() as norm]:
                    setattr(parent, name, fuse_conv_bn_eval(conv, norm))
    return net
