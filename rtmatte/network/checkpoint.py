"""From a checkpoint file to a step, or a part of one, that can be run or exported, whichever of our networks it holds.

A file that says what it is, is lite's; any other is taken for MatAnyone's, whose files say nothing of themselves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from rtmatte.contract import Contract, DType, Role
from rtmatte.errors import InputError
from rtmatte.modelfile import sha256_of
from rtmatte.network import lite_step
from rtmatte.network.half import AlphaInBytes, contract_in_half
from rtmatte.network.matanyone import precision, weights
from rtmatte.network.matanyone.folding import folded
from rtmatte.network.matanyone.lowering import lowered
from rtmatte.network.matanyone.memory import Read
from rtmatte.network.matanyone.step import SLOTS, Head, Step, Tail, contract_of

Variant = Literal["parity", "fast", "fast-fp16"]
HALF: Variant = "fast-fp16"


def open_step(
    path: Path,
    *,
    width: int,
    height: int,
    slots: int | None = None,
    batch: int = 1,
    frame_dtype: DType | None = None,
    variant: Variant | None = None,
    part: Role = "step",
) -> tuple[nn.Module, Contract]:
    """Returns the checkpoint's network as one step for frames of that size, in inference mode, and its contract.

    The module takes and returns the contract's tensors in the contract's order; with `part`, it is the step's head or
    its tail. None is the network's own. MatAnyone has three variants: "parity" reads the 30 best tokens of its memory,
    as the authors do, from float32 frames; "fast", its own, reads all of it, from uint8 frames; "fast-fp16" does so in
    half precision with float32 islands, and its alpha is uint8. lite has its own, and "fast-fp16".
    Raises ModelError for a file that is missing, damaged or holds another network, InputError for a size, variant or
    part that the network does not have.
    """
    if not _says_lite(path):
        variant = variant or "fast"
        frame_dtype = frame_dtype or ("float32" if variant == "parity" else "uint8")
        contract = contract_of(
            width=width, height=height, slots=slots or SLOTS, batch=batch, frame_dtype=frame_dtype, part=part
        )
        return _matanyone(path, contract, (width, height), variant)
    if variant not in (None, HALF) or part != "step":
        raise InputError(f"{path} is lite's, whose one variant is {HALF} and which is not cut; leave the other out")
    net = lite_step.load(path)
    contract = lite_step.contract_of(
        net, width=width, height=height, slots=slots or lite_step.SLOTS, batch=batch, frame_dtype=frame_dtype or "uint8"
    )
    contract = replace(contract, weights_sha256=sha256_of(path))
    step = lite_step.LiteStep(net, width=width, height=height).eval()
    if variant is None:
        return step, contract
    lite_step.in_half(step)
    return AlphaInBytes(step).eval(), replace(contract_in_half(contract, lite_step.HALVED), variant=HALF)


def _says_lite(path: Path) -> bool:
    """Whether the file says of itself that it is lite's; one that cannot be read says nothing."""
    if path.suffix == ".safetensors":
        return False
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whoever loads it for good says what is wrong with it
        return False
    return isinstance(saved, dict) and "widths" in saved


def _matanyone(path: Path, contract: Contract, size: tuple[int, int], variant: Variant) -> tuple[nn.Module, Contract]:
    (width, height), loaded = size, weights.load(path)
    net = loaded.net
    read: Read = "topk" if variant == "parity" else "full"
    module: Step | Head | Tail
    match contract.role:
        case "step":
            module = Step(net, width=width, height=height, read=read)
        case "head":
            module = Head(net, width=width, height=height, read=read)
        case "tail":
            module = Tail(net, width=width, height=height)
    contract = replace(contract, variant=variant, licence=loaded.licence, weights_sha256=loaded.sha256)
    if variant != HALF:
        return module.eval(), contract
    module = lowered(folded(module))  # while norms and shortcuts are still exact
    precision.in_half(module.stages)
    contract = contract_in_half(contract, precision.HALVED)
    return (module if contract.role == "tail" else AlphaInBytes(module)).eval(), contract
