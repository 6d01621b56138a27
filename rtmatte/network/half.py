"""What networks in half precision share: islands of float32, an alpha in bytes, and the contract that says so."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import torch
from torch import Tensor, nn

from rtmatte.contract import ALPHA, Contract, DType, TensorSpec


class Float32(nn.Module):
    """A part that stays in float32 among others in float16: it widens what it is given, and answers in float32."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *given: Tensor) -> Tensor:
        answer: Tensor = self.part(*(tensor.float() for tensor in given))
        return answer


class Float16(nn.Module):
    """A part in float16 inside an island: it narrows what it is given, and answers in float32."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part.half()

    def forward(self, given: Tensor) -> Tensor:
        answer: Tensor = self.part(given.half())
        return answer.float()


class Narrowed(nn.Module):
    """A part in float16 that narrows the first tensor it is given, and answers in float16."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part.half()

    def forward(self, given: Tensor, *others: object) -> Tensor:
        answer: Tensor = self.part(given.half(), *others)
        return answer


class AlphaInBytes(nn.Module):
    """A step or a head whose alpha leaves as uint8 in 0..255; the cast is its last operator."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        alpha, *others = self.part(*given)
        return (alpha.clamp(0, 1) * 255).round().to(torch.uint8), *others


def contract_in_half(contract: Contract, names: Set[str]) -> Contract:
    """Returns the contract of a part in half precision: float16 for the tensors in `names`, uint8 for its alpha."""

    def retyped(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        dtypes: dict[str, DType] = {ALPHA: "uint8", **dict.fromkeys(names, "float16")}
        return tuple(replace(spec, dtype=dtypes.get(spec.name, spec.dtype)) for spec in specs)

    return replace(
        contract,
        inputs=retyped(contract.inputs),
        states=retyped(contract.states),
        outputs=retyped(contract.outputs),
    )
