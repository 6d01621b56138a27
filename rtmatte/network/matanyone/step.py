"""One frame of MatAnyone as a function of its recurrent state: `Step`, or cut after the alpha, `Head` and `Tail`.

Each is made for one frame size and traces to a graph of static shapes; what the gates mean is in the contract.
B rows, T slots, (H, W) true frame size, (h, w) = its size in tokens of 16x16 pixels, P = h*w tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.contract import ALPHA, FRAME, MASK, SEED, SETTLE, WRITE, Contract, DType, Role, TensorSpec
from rtmatte.errors import InputError
from rtmatte.network.gates import cleared, stored, where_row
from rtmatte.network.matanyone.memory import TOP_K, Bank, MemoryReader, Read
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.network.matanyone.protocol import STRIDE, Size, padding
from rtmatte.network.matanyone.summary import add_compensated

SLOTS = 5  # one permanent, four in a ring
WRITE_EVERY = 5
WARMUP = 10
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class StepState(NamedTuple):
    """The recurrent state, in the order in which it enters and leaves; shapes in `state_specs`."""

    bank_key: Tensor
    bank_shrinkage: Tensor
    bank_value: Tensor
    bank_valid: Tensor
    sensory: Tensor
    object_memory: Tensor  # running sums, see `ObjectSummarizer`
    object_memory_carry: Tensor  # what rounding took from them
    last_value: Tensor
    last_pix_feat: Tensor
    last_alpha: Tensor  # averaged to tokens: nothing reads it finer


class Links(NamedTuple):
    """What a head hands to its tail, in the order in which it leaves and enters."""

    image: Tensor  # [B,3,16h,16w] padded, normalised
    padded_alpha: Tensor  # [B,1,16h,16w]
    pix_feat: Tensor  # [B,256,h,w]
    key: Tensor  # [B,64,h,w]
    shrinkage: Tensor  # [B,1,h,w]
    decoded_sensory: Tensor  # [B,256,h,w] the sensory state after the decoder


def state_specs(*, width: int, height: int, slots: int = SLOTS, batch: int = 1) -> tuple[TensorSpec, ...]:
    """Returns the state's tensors for frames of that size, in the order of `StepState`, all float32."""
    h, w = _in_tokens(width, height)
    shapes = {
        "bank_key": (slots, h * w, 64),
        "bank_shrinkage": (slots, h * w),
        "bank_value": (slots, h * w, 256),
        "bank_valid": (slots,),
        "sensory": (256, h, w),
        "object_memory": (16, 257),
        "object_memory_carry": (16, 257),
        "last_value": (256, h, w),
        "last_pix_feat": (256, h, w),
        "last_alpha": (1, h, w),
    }
    return tuple(TensorSpec(name, (batch, *shapes[name])) for name in StepState._fields)


def link_specs(*, width: int, height: int, batch: int = 1) -> tuple[TensorSpec, ...]:
    """Returns the tensors between head and tail for frames of that size, in the order of `Links`."""
    h, w = _in_tokens(width, height)
    shapes = {
        "image": (3, h * STRIDE, w * STRIDE),
        "padded_alpha": (1, h * STRIDE, w * STRIDE),
        "pix_feat": (256, h, w),
        "key": (64, h, w),
        "shrinkage": (1, h, w),
        "decoded_sensory": (256, h, w),
    }
    return tuple(TensorSpec(name, (batch, *shapes[name])) for name in Links._fields)


def contract_of(
    *,
    width: int,
    height: int,
    slots: int = SLOTS,
    batch: int = 1,
    frame_dtype: DType = "float32",
    part: Role = "step",
) -> Contract:
    """Returns the contract of a `Step`, `Head` or `Tail` for frames of that size, without what depends on weights."""
    frame, mask = TensorSpec(FRAME, (batch, height, width, 3), frame_dtype), TensorSpec(MASK, (batch, 1, height, width))
    seed, settle, write = (TensorSpec(name, (batch, n)) for name, n in ((SEED, 1), (SETTLE, 1), (WRITE, slots)))
    alpha, links = TensorSpec(ALPHA, (batch, 1, height, width)), link_specs(width=width, height=height, batch=batch)
    parts: dict[Role, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]] = {
        "step": ((frame, mask, seed, settle, write), (alpha,)),
        "head": ((frame, mask, seed, settle), (alpha, *links)),
        "tail": ((seed, settle, write, *links), ()),
    }
    inputs, outputs = parts[part]
    return Contract(
        model="matanyone",
        role=part,
        inputs=inputs,
        states=state_specs(width=width, height=height, slots=slots, batch=batch),
        outputs=outputs,
        slots=slots,
        write_every=WRITE_EVERY,
        warmup=WARMUP,
    )


def _in_tokens(width: int, height: int) -> tuple[int, int]:
    h, w = -(-height // STRIDE), -(-width // STRIDE)
    if h * w < TOP_K:
        raise InputError(
            f"MatAnyone reads {TOP_K} tokens of 16x16 pixels, {width}x{height} has {h * w}; use 96x80 or larger"
        )
    return h, w


class Stages(nn.Module):
    """The two halves of a step for one frame size: up to the alpha, and the state's update after it."""

    mean: Tensor
    std: Tensor
    query_position: Tensor
    summary_position: Tensor

    def __init__(self, net: MatAnyone, size: Size, reader: MemoryReader) -> None:
        super().__init__()
        width, height = size
        h, w = _in_tokens(width, height)
        self.net = net
        self.reader = reader
        self.rows, self.columns = padding(height), padding(width)
        constants = {
            "mean": torch.tensor(MEAN).reshape(3, 1, 1),
            "std": torch.tensor(STD).reshape(3, 1, 1),
            "query_position": net.object_transformer.spatial_pe.table(h, w),
            "summary_position": net.object_summarizer.pos_enc.table(h, w),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def head(self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, state: StepState) -> Links:
        """Returns the links of a frame [B,H,W,3] in 0..255; the alpha is among them.

        `mask` is [B,1,H,W] in 0..1, read in seeded rows only; `state` is zero in those.
        """
        net = self.net
        image = self._normalised(frame)
        features = net.pixel_encoder(image)
        pix_feat = net.pix_feat_proj(features.f16)
        keys = net.key_proj(features.f16)

        bank = Bank(state.bank_key, state.bank_shrinkage, state.bank_value, state.bank_valid)
        read = self.reader(keys, bank).to(pix_feat.dtype)
        value = where_row(settle, state.last_value, self._propagated(read, pix_feat, state))

        fused = net.pixel_fuser(pix_feat, value, state.sensory, state.last_alpha)
        readout = net.object_transformer(fused, state.object_memory, self.query_position).to(image.dtype)
        raw, sensory = net.mask_decoder(features, readout, state.sensory)
        alpha = where_row(seed, self._padded(mask), raw.clamp(0, 1))
        pix_feat, key = pix_feat.to(image.dtype), keys.key.to(image.dtype)
        return Links(image, alpha, pix_feat, key, keys.shrinkage, cleared(seed, sensory))

    def tail(self, links: Links, seed: Tensor, settle: Tensor, write: Tensor, state: StepState) -> StepState:
        """Returns the next state."""
        net = self.net
        start = torch.maximum(seed, settle)
        remembered = torch.maximum(start, write.amax(dim=1, keepdim=True))
        value = net.mask_encoder(links.image, links.padded_alpha.to(links.image.dtype), links.pix_feat)
        deep = net.mask_encoder.sensory_update(value, links.decoded_sensory)
        alpha = F.avg_pool2d(links.padded_alpha, STRIDE)
        summary = net.object_summarizer(value, alpha, self.summary_position)
        total, carry = add_compensated(state.object_memory, state.object_memory_carry, summary)

        def in_bank(bank: Tensor, entry: Tensor) -> Tensor:
            return stored(start, write, bank, entry)

        def summed(begin: Tensor, grown: Tensor, kept: Tensor) -> Tensor:
            return where_row(start, begin, where_row(remembered, grown, kept))

        following = StepState(
            bank_key=in_bank(state.bank_key, links.key.flatten(2).transpose(1, 2)),
            bank_shrinkage=in_bank(state.bank_shrinkage, links.shrinkage.flatten(1)),
            bank_value=in_bank(state.bank_value, value.flatten(2).transpose(1, 2)),
            bank_valid=in_bank(state.bank_valid, torch.ones_like(seed[:, 0])),
            sensory=where_row(remembered, deep, links.decoded_sensory),
            object_memory=summed(summary, total, state.object_memory),
            object_memory_carry=summed(torch.zeros_like(carry), carry, state.object_memory_carry),
            last_value=value,
            last_pix_feat=links.pix_feat,
            last_alpha=alpha,
        )
        return StepState(*(new.to(old.dtype) for new, old in zip(following, state, strict=True)))

    def cropped(self, padded: Tensor) -> Tensor:
        """Returns a padded map at the true frame size."""
        (top, bottom), (left, right) = self.rows, self.columns
        return padded[..., top : padded.shape[-2] - bottom, left : padded.shape[-1] - right]

    def _propagated(self, read: Tensor, pix_feat: Tensor, state: StepState) -> Tensor:
        """Consistent memory propagation: the value read where the frame changed, the last value where not."""
        change = self.net.temp_sparity(state.last_pix_feat, pix_feat, state.last_alpha, read - state.last_value)
        propagated: Tensor = read * change + state.last_value * (1 - change)
        return propagated

    def _normalised(self, frame: Tensor) -> Tensor:
        # Padding comes first, as in the reference: the margins are black, not the grey of a normalised zero.
        image = self._padded(frame.to(self.mean.dtype).permute(0, 3, 1, 2))
        return ((image / 255 - self.mean) / self.std).to(self.net.pixel_encoder.conv1.weight.dtype)

    def _padded(self, picture: Tensor) -> Tensor:
        return F.pad(picture, (*self.columns, *self.rows))


def _begun(seed: Tensor, states: tuple[Tensor, ...]) -> StepState:
    return StepState(*(cleared(seed, state) for state in states))


class Step(nn.Module):
    """A whole frame: `forward(frame, mask, seed, settle, write, *states)` returns (alpha, *next states).

    `frame` [B,H,W,3] uint8 or float32 in 0..255, `mask` [B,1,H,W], gates as in the contract, states in the order of
    `state_specs`; alpha [B,1,H,W] in 0..1. Raises InputError for a frame of fewer than 30 tokens.
    """

    def __init__(self, net: MatAnyone, *, width: int, height: int, read: Read = "topk", top_k: int = TOP_K) -> None:
        super().__init__()
        self.stages = Stages(net, (width, height), MemoryReader(read, top_k))

    def forward(
        self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, write: Tensor, *states: Tensor
    ) -> tuple[Tensor, ...]:
        state = _begun(seed, states)
        links = self.stages.head(frame, mask, seed, settle, state)
        after = self.stages.tail(links, seed, settle, write, state)
        return self.stages.cropped(links.padded_alpha), *after


class Head(nn.Module):
    """A frame up to its alpha: `forward(frame, mask, seed, settle, *states)` returns (alpha, *links)."""

    def __init__(self, net: MatAnyone, *, width: int, height: int, read: Read = "topk", top_k: int = TOP_K) -> None:
        super().__init__()
        self.stages = Stages(net, (width, height), MemoryReader(read, top_k))

    def forward(self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        links = self.stages.head(frame, mask, seed, settle, _begun(seed, states))
        return self.stages.cropped(links.padded_alpha), *links


class Tail(nn.Module):
    """The state's update after the alpha: `forward(seed, settle, write, *links, *states)` returns the next states."""

    def __init__(self, net: MatAnyone, *, width: int, height: int) -> None:
        super().__init__()
        self.stages = Stages(net, (width, height), MemoryReader())

    def forward(self, seed: Tensor, settle: Tensor, write: Tensor, *links_and_states: Tensor) -> tuple[Tensor, ...]:
        cut = len(Links._fields)
        links, states = Links(*links_and_states[:cut]), links_and_states[cut:]
        return tuple(self.stages.tail(links, seed, settle, write, _begun(seed, states)))
