"""What a backend makes sure of before it trusts a graph: that the file holds a whole step of ONNX's own operators, and
that its tensors are those of its contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtmatte.contract import ALPHA, Contract, TensorSpec, after, read_contract
from rtmatte.errors import ContractError, ModelError
from rtmatte.modelfile import read_header

# ONNX itself and ONNX Runtime's own operators. No library of custom operators is ever loaded.
DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def read_step_contract(path: Path) -> Contract:
    """Returns the contract of a whole step, before any backend has read a byte of its file.

    Raises ContractError as `read_contract` does and for a part of a network, ModelError for operators that are not
    ONNX's own.
    """
    contract = read_contract(path)
    if contract.role != "step":
        raise ContractError(f"{path} holds the {contract.role} of a network; give the whole graph, its role is 'step'")
    check_operators(path)
    return contract


def check_operators(path: Path) -> None:
    """Raises ModelError for a file whose operators are not all ONNX's own."""
    foreign = sorted(set(read_header(path).domains) - DOMAINS)
    if foreign:
        raise ModelError(f"{path} uses operators of {', '.join(foreign)}; export it with ONNX's own operators only")


def check_graph(path: Path, contract: Contract, taken: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Raises ContractError unless a graph's tensors are those of the contract.

    `taken` and `given` are its inputs and outputs by name, each as text: "[1, 288, 512, 3] uint8".
    """
    inputs = {spec.name: spec for spec in (*contract.inputs, *contract.states)}
    outputs = {spec.name: spec for spec in contract.outputs} | {after(spec.name): spec for spec in contract.states}
    if unfed := sorted(taken.keys() - inputs.keys()):
        raise ContractError(f"{path} has inputs that its contract does not name: {unfed}; export it again")
    for specs, found in ((inputs, taken), (outputs, given)):
        for name, spec in specs.items():
            wanted, have = f"{list(spec.shape)} {spec.dtype}", found.get(name, "no such tensor")
            if have != wanted:
                raise ContractError(f"{path}: expected {name} {wanted}, found {have}; export it again")


def alpha_of(contract: Contract) -> TensorSpec:
    """Returns the alpha of a step."""
    return next(spec for spec in contract.outputs if spec.name == ALPHA)
