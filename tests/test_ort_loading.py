"""Loading a model into ONNX Runtime: every file it has to refuse, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import helper

from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import MASK, Contract, TensorSpec
from rtmatte.errors import ContractError, ModelError
from tests.toy_model import save_toy, toy_contract


@pytest.mark.parametrize(("size", "planned"), [((1280, 720), True), ((1920, 1080), False)])
def test_above_720p_no_second_block_of_memory_is_planned(
    size: tuple[int, int], planned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    session = onnxruntime.InferenceSession

    def open_session(path: str, options: Any, providers: list[str]) -> Any:
        asked.append(options.enable_mem_pattern)
        return session(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)

    OrtEngine(save_toy(tmp_path / "toy.onnx", toy_contract(*size)), threads=1)

    assert asked == [planned]


Damage = Callable[[Path, Contract], object]


def no_contract(path: Path, contract: Contract) -> None:
    save_toy(path, contract, metadata="")


def truncated(path: Path, contract: Contract) -> None:
    path.write_bytes(save_toy(path, contract).read_bytes()[:-200])


def not_onnx(path: Path, contract: Contract) -> None:
    path.write_text("this is a letter to a friend, not a network")


def empty_file(path: Path, contract: Contract) -> None:
    path.write_bytes(b"")


def missing(path: Path, contract: Contract) -> None:
    path.unlink(missing_ok=True)


def a_folder(path: Path, contract: Contract) -> None:
    path.mkdir()


def other_shape(path: Path, contract: Contract) -> None:
    save_toy(path, contract, graph_of=toy_contract(width=32))


def other_slots(path: Path, contract: Contract) -> None:
    save_toy(path, contract, graph_of=toy_contract(slots=5))


def unnamed_state(path: Path, contract: Contract) -> None:
    save_toy(path, replace(contract, states=contract.states[:1]), graph_of=contract)


def state_that_is_not_there(path: Path, contract: Contract) -> None:
    save_toy(path, replace(contract, states=(*contract.states, TensorSpec("ghost", (1, 2)))), graph_of=contract)


def only_a_head(path: Path, contract: Contract) -> None:
    save_toy(path, replace(contract, role="head"), graph_of=contract)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (no_contract, "carries no 'rtmatte.contract'"),
        (truncated, "not a complete ONNX file"),
        (not_onnx, "not a complete ONNX file"),
        (empty_file, "carries no 'rtmatte.contract'"),
        (missing, "cannot read the model"),
        (a_folder, "cannot read the model"),
        (other_shape, r"expected frame \[1, 8, 16, 3\] float32, found \[1, 8, 32, 3\]"),
        (other_slots, r"expected write \[1, 3\] float32, found \[1, 5\]"),
        (unnamed_state, r"inputs that its contract does not name: \['last'\]"),
        (state_that_is_not_there, "expected ghost .* found no such tensor"),
        (only_a_head, "the head of a network"),
    ],
)
def test_file_that_cannot_be_used_is_refused_in_one_line(
    damage: Damage, sentence: str, contract: Contract, tmp_path: Path
) -> None:
    path = tmp_path / "bad.onnx"
    damage(path, contract)

    with pytest.raises(ContractError, match=sentence) as caught:
        OrtEngine(path, threads=1)
    assert "\n" not in str(caught.value)


def save_model(path: Path, contract: Contract, *, node: onnx.NodeProto, domain: str) -> Path:
    """Returns `path` with a graph of one `node` that carries `contract`."""
    save_toy(path, contract)
    model = onnx.load(path)
    model.graph.ClearField("node")
    model.graph.node.append(node)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    path.write_bytes(model.SerializeToString())
    return path


def test_operators_of_other_domains_are_refused(contract: Contract, tmp_path: Path) -> None:
    node = helper.make_node("Magic", [MASK], ["alpha"], domain="evil.ops")
    path = save_model(tmp_path / "custom.onnx", contract, node=node, domain="evil.ops")

    with pytest.raises(ModelError, match=r"operators of evil\.ops"):
        OrtEngine(path, threads=1)


def test_graph_that_onnx_runtime_cannot_load_is_a_model_error_in_one_line(contract: Contract, tmp_path: Path) -> None:
    path = save_model(tmp_path / "broken.onnx", contract, node=helper.make_node("Conv", [MASK], ["alpha"]), domain="")

    with pytest.raises(ModelError, match="cannot load") as caught:
        OrtEngine(path, threads=1)
    assert "\n" not in str(caught.value)
