"""lite: the embedded default network, a compact member of MatAnyone's family.

A bank of keys and values (slot 0 permanent, the others a ring), a last-frame value, a per-cell change probability U
that fuses the two, and recurrent refinement. Plain 3x3 convolutions in widths that are multiples of 16 and skips that
are added: measured about twice as fast per multiplication on a CPU as depthwise ones with concatenations.
It also proposes the most central person when its mask is -1 everywhere.

Shapes: B rows, C channels, H x W the padded frame, h x w = H/16 x W/16, P = h*w cells, T slots, K key, V value width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 16


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels of every part; all but `head` are multiples of 16."""

    f2: int = 16
    f4: int = 32
    f8: int = 64
    f16: int = 128
    inner8: int = 32  # inside the residual block at 1/8
    inner16: int = 32  # inside the residual blocks at 1/16
    squeeze: int = 64  # inside the bottlenecks at 1/16
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)
    wide: int = 1  # plain residual blocks at 1/16
    key: int = 48
    value: int = 64
    fuse: int = 64
    memory16: int = 32  # recurrent channels at 1/16
    memory8: int = 16
    d8: int = 48
    d4: int = 32
    d2: int = 16

    def to_dict(self) -> dict[str, object]:
        """Returns plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Widths:
        """Returns the widths a checkpoint holds; older ones have residual blocks as wide inside as outside."""
        inner = {"inner8": saved["f8"], "inner16": saved["f16"]}
        return cls(**inner | saved | {"dilations": tuple(saved["dilations"])})


class Features(NamedTuple):
    """What the encoder makes of a frame."""

    f2: Tensor  # [B,f2,H/2,W/2]
    f4: Tensor
    f8: Tensor
    f16: Tensor  # [B,f16,h,w]
    key: Tensor  # [B,K,h,w] of length 1; the last channel is spare and 0


class Bank(NamedTuple):
    """Stored frames, token-major so that a slot is one contiguous span."""

    key: Tensor  # [B,T,P,K]
    value: Tensor  # [B,T,P,V]
    valid: Tensor  # [B,T] 1: holds a frame


class Last(NamedTuple):
    """What the network remembers of the frame before, and its recurrent memories."""

    alpha: Tensor  # [B,1,H/2,W/2]
    key: Tensor  # [B,K,h,w]
    value: Tensor  # [B,V,h,w]
    memory16: Tensor  # [B,memory16,h,w]
    memory8: Tensor  # [B,memory8,H/8,W/8]


class ReadOut(NamedTuple):
    """The bank's answer and its fusion with the last frame (P_t = U V_m + (1-U) V_last)."""

    memory: Tensor  # V_m [B,V,h,w]; its channel 0 is the attention-weighted alpha of the stored cells
    fused: Tensor  # P_t [B,V,h,w]
    change: Tensor  # logits of U [B,1,h,w]


class Decoded(NamedTuple):
    """The decoder's output before the clamp, the new recurrent memories, and the logits that only training uses."""

    raw: Tensor  # [B,1,H,W]
    memory16: Tensor
    memory8: Tensor
    coarse16: Tensor  # [B,1,h,w]
    coarse4: Tensor  # [B,1,H/4,W/4]


def _conv_bn(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch norm, `inner` channels between them, added to their input."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = _conv_bn(width, inner), _conv_bn(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class _Bottleneck(nn.Module):
    """1x1, dilated 3x3, 1x1: wide context at an eighth of the cost of a plain block."""

    def __init__(self, width: int, squeeze: int, dilation: int) -> None:
        super().__init__()
        self.reduce = _conv_bn(width, squeeze, 1)
        self.look = _conv_bn(squeeze, squeeze, dilation=dilation)
        self.expand = _conv_bn(squeeze, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.expand(F.relu(self.look(F.relu(self.reduce(x))))))


class _Refine(nn.Module):
    """`count` 3x3 convolutions, each added to its input; no norm, so that no pass depends on its batch."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + F.relu(conv(x))
        return x


class _Gru(nn.Module):
    """A convolutional gated unit in one pass: h' = f h (1-u) + u n, as in MatAnyone's sensory update."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.of_input = nn.Conv2d(inputs, 3 * hidden, 3, padding=1)
        self.of_hidden = nn.Conv2d(hidden, 3 * hidden, 3, padding=1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        keep, update, new = (self.of_input(x) + self.of_hidden(hidden)).chunk(3, dim=1)
        update = torch.sigmoid(update)
        return torch.sigmoid(keep) * hidden * (1 - update) + update * torch.tanh(new)


class Encoder(nn.Module):
    """Frame to features at 1/2, 1/4, 1/8 and 1/16, and the key. Stateless: a clip's frames can go through at once."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.stem = _conv_bn(3, w.f2, stride=2)
        self.down4, self.block4 = _conv_bn(w.f2, w.f4, stride=2), _conv_bn(w.f4, w.f4)
        self.down8, self.block8 = _conv_bn(w.f4, w.f8, stride=2), _Residual(w.f8, w.inner8)
        self.down16 = _conv_bn(w.f8, w.f16, stride=2)
        self.block16 = nn.Sequential(
            *(_Residual(w.f16, w.inner16) for _ in range(w.wide)),
            *(_Bottleneck(w.f16, w.squeeze, d) for d in w.dilations),
        )
        self.key = nn.Conv2d(w.f16, w.key - 1, 1)

    def forward(self, image_BCHW: Tensor) -> Features:
        """`image_BCHW` is RGB in 0..1; no mean is taken off, so that zero padding is black everywhere."""
        f2 = F.relu(self.stem(image_BCHW))
        f4 = F.relu(self.down4(f2))
        f4 = f4 + F.relu(self.block4(f4))
        f8 = self.block8(F.relu(self.down8(f4)))
        f16 = self.block16(F.relu(self.down16(f8)))
        return Features(f2, f4, f8, f16, F.pad(F.normalize(self.key(f16).float(), dim=1), (0, 0, 0, 0, 0, 1)))


class ValueEncoder(nn.Module):
    """(features, alpha) to the value that is stored: channel 0 is the cell's mean alpha, the others are learnt."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.of_feature = nn.Conv2d(w.f16, w.value, 1)
        self.of_alpha = nn.Sequential(nn.Conv2d(1, 16, 4, stride=4), nn.ReLU(), nn.Conv2d(16, w.value, 2, stride=2))
        self.mix = _Refine(w.value, 1)
        self.out = nn.Conv2d(w.value, w.value - 1, 1)

    def forward(self, f16: Tensor, half_alpha: Tensor) -> Tensor:
        mixed = self.mix(F.relu(self.of_feature(f16) + self.of_alpha(half_alpha)))
        return torch.cat([F.avg_pool2d(half_alpha, 8), self.out(mixed)], dim=1)


class Reader(nn.Module):
    """Reads the bank and fuses what it finds with the last frame's value."""

    nowhere: Tensor

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("nowhere", torch.tensor([0.0] * (w.key - 1) + [-1e30]), persistent=False)
        self.of_key = nn.Conv2d(w.key, 32, 1)
        self.of_last_key = nn.Conv2d(w.key, 32, 1, bias=False)
        self.of_alpha = nn.Conv2d(1, 32, 1, bias=False)
        self.of_difference = nn.Conv2d(w.value, 32, 1, bias=False)
        self.change = nn.Sequential(
            nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
        )

    def attend(self, key_BKhw: Tensor, bank: Bank) -> Tensor:
        """Returns V_m [B,V,h,w]: softmax over all stored cells of the cosine similarity times a learnt sharpness.

        Cells of empty slots get the lowest finite similarity and value 0; with no slot filled the answer is finite.
        Their similarity is replaced through the spare last channel of the key (0 in stored keys), which costs T*P*K
        selects instead of T*P*P: 1 ms less at 512x288 on one thread.
        """
        batch, _, h, w = key_BKhw.shape
        valid_BN = bank.valid.unsqueeze(2).expand(-1, -1, h * w).flatten(1)
        full_BN1 = valid_BN.unsqueeze(2) > 0.5
        keys_BNK = torch.where(full_BN1, bank.key.flatten(1, 2), self.nowhere).float()
        values_BNV = bank.value.flatten(1, 2)
        values_BNV = torch.where(full_BN1, values_BNV, values_BNV.new_zeros(())).float()
        query_BPK = key_BKhw.float() * torch.exp(self.sharpness)
        query_BPK = torch.cat([query_BPK[:, :-1], torch.ones_like(query_BPK[:, -1:])], dim=1).flatten(2).transpose(1, 2)
        read_BPV = torch.softmax(query_BPK @ keys_BNK.transpose(1, 2), dim=2) @ values_BNV
        return read_BPV.transpose(1, 2).reshape(batch, -1, h, w)

    def forward(self, key: Tensor, bank: Bank, last: Last) -> ReadOut:
        memory = self.attend(key, bank).to(key.dtype)
        difference = memory - last.value
        hidden = self.of_key(key) + self.of_last_key(last.key)
        hidden = hidden + self.of_alpha(F.avg_pool2d(last.alpha, 8)) + self.of_difference(difference)
        change = self.change(hidden)
        return ReadOut(memory, last.value + torch.sigmoid(change) * difference, change)


class Decoder(nn.Module):
    """Features, read-out and last alpha to an alpha at full size, through 1/16, 1/8, 1/4 and 1/2."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        w = widths
        self.of_feature, self.of_fused = nn.Conv2d(w.f16, w.fuse, 1), nn.Conv2d(w.value, w.fuse, 1, bias=False)
        self.of_memory = nn.Conv2d(w.value, w.fuse, 1, bias=False)
        self.alpha16, self.fuse = nn.Conv2d(1, w.fuse, 3, padding=1, bias=False), _Refine(w.fuse, 2)
        self.gru16, self.from_gru16 = _Gru(w.fuse, w.memory16), nn.Conv2d(w.memory16, w.fuse, 1)
        self.settle16 = _Refine(w.fuse, 1)
        self.up8, self.skip8 = nn.Conv2d(w.fuse, w.d8, 1), nn.Conv2d(w.f8, w.d8, 1, bias=False)
        self.alpha8, self.refine8 = nn.Conv2d(1, w.d8, 3, padding=1, bias=False), _Refine(w.d8, 2)
        self.gru8, self.from_gru8 = _Gru(w.d8, w.memory8), nn.Conv2d(w.memory8, w.d8, 1)
        self.up4, self.skip4 = nn.Conv2d(w.d8, w.d4, 1), nn.Conv2d(w.f4, w.d4, 1, bias=False)
        self.alpha4, self.refine4 = nn.Conv2d(1, w.d4, 3, padding=1, bias=False), _Refine(w.d4, 1)
        self.up2, self.skip2 = nn.Conv2d(w.d4, w.d2, 1), nn.Conv2d(w.f2, w.d2, 1, bias=False)
        self.alpha2, self.refine2 = nn.Conv2d(1, w.d2, 3, padding=1, bias=False), _Refine(w.d2, 1)
        self.head = nn.ConvTranspose2d(w.d2, 1, 4, stride=2, padding=1)
        self.coarse16, self.coarse4 = nn.Conv2d(w.fuse, 1, 1), nn.Conv2d(w.d4, 1, 1)
        nn.init.constant_(self.head.bias, 0.5)  # type: ignore[arg-type]

    def forward(self, features: Features, memory: Tensor, fused: Tensor, last: Last) -> Decoded:
        half = last.alpha
        quarter = F.avg_pool2d(half, 2)
        eighth = F.avg_pool2d(quarter, 2)
        x16 = self.of_feature(features.f16) + self.of_fused(fused) + self.of_memory(memory)
        x16 = self.fuse(F.relu(x16 + self.alpha16(F.avg_pool2d(eighth, 2))))
        memory16 = self.gru16(x16, last.memory16)
        x16 = self.settle16(x16 + self.from_gru16(memory16))
        x8 = self.refine8(F.relu(_double(self.up8(x16)) + self.skip8(features.f8) + self.alpha8(eighth)))
        memory8 = self.gru8(x8, last.memory8)
        x8 = x8 + self.from_gru8(memory8)
        x4 = self.refine4(F.relu(_double(self.up4(x8)) + self.skip4(features.f4) + self.alpha4(quarter)))
        x2 = self.refine2(F.relu(_double(self.up2(x4)) + self.skip2(features.f2) + self.alpha2(half)))
        return Decoded(self.head(x2), memory16, memory8, self.coarse16(x16), self.coarse4(x4))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Lite(nn.Module):
    """The whole network, as parts that training and the exported step put together."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.encoder = Encoder(self.widths)
        self.value = ValueEncoder(self.widths)
        self.reader = Reader(self.widths)
        self.decoder = Decoder(self.widths)
