"""Checkpoint to ONNX: what is written, and that the check of it can fail."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from export.__main__ import main
from export.check import SAME, measure_drift
from export.to_onnx import export_step, round_to_half
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Contract, read_contract
from rtmatte.engine import self_test
from rtmatte.errors import ModelError
from rtmatte.modelfile import read_seal
from rtmatte.network.checkpoint import open_step

WIDTH, HEIGHT = 66, 50


@pytest.fixture(scope="module")
def exported(lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Contract, Path]:
    step, contract = open_step(lite_checkpoint, width=WIDTH, height=HEIGHT, batch=2)
    round_to_half(step)
    contract = replace(contract, self_test=self_test(EagerEngine(step, contract)))
    path = tmp_path_factory.mktemp("export") / "lite.onnx"
    export_step(step, contract, path, half_weights=True)
    return step, contract, path


def test_the_file_carries_the_contract_and_a_seal(exported: tuple[nn.Module, Contract, Path]) -> None:
    _, contract, path = exported
    seal = read_seal(path)
    assert seal is not None
    assert seal.recorded == seal.found
    assert read_contract(path) == contract
    assert len(contract.self_test) == 3


def test_the_graph_has_static_shapes_one_opset_and_the_contracts_names(
    exported: tuple[nn.Module, Contract, Path],
) -> None:
    _, contract, path = exported
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    found = {t.name: tuple(d.dim_value for d in t.type.tensor_type.shape.dim) for t in model.graph.input}
    assert found == {spec.name: spec.shape for spec in (*contract.inputs, *contract.states)}


def test_large_weights_are_stored_as_half_and_nothing_tells_where_it_was_made(
    exported: tuple[nn.Module, Contract, Path],
) -> None:
    _, _, path = exported
    model = onnx.load(path)
    large = [t for t in model.graph.initializer if np.prod(t.dims) >= 256]
    assert large
    assert all(t.data_type != TensorProto.FLOAT for t in large)
    assert b"/rtmatte/network" not in path.read_bytes()


def test_the_graph_follows_pytorch_for_recurrent_frames(exported: tuple[nn.Module, Contract, Path]) -> None:
    step, contract, path = exported
    drift = measure_drift(OrtEngine(path), EagerEngine(step, contract), frames=24)
    assert drift.within(SAME), str(drift)


def test_the_check_finds_one_changed_weight(exported: tuple[nn.Module, Contract, Path], tmp_path: Path) -> None:
    step, contract, path = exported
    model = onnx.load(path)
    weight = next(t for t in model.graph.initializer if "head.weight" in t.name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(1.2), weight.name))
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    assert not measure_drift(OrtEngine(other), EagerEngine(step, contract), frames=8).within(SAME)


def test_a_graph_with_an_operator_that_tensorrt_refuses_is_not_written(tmp_path: Path, lite_checkpoint: Path) -> None:
    step, contract = open_step(lite_checkpoint, width=32, height=32)

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = step

        def forward(self, frame: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
            alpha, *states = self.step(frame, *rest)
            return alpha + alpha.nonzero().sum() * 0, *states

    path = tmp_path / "refused.onnx"
    with pytest.raises(ModelError, match="NonZero"):
        export_step(Counting(), contract, path, half_weights=False)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_graph_of_any_size(
    lite_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.onnx"
    arguments = ["export", str(lite_checkpoint), "--size", "33x48", "--slots", "4", "--check-frames", "8"]
    monkeypatch.setattr("sys.argv", [*arguments, "--output", str(path)])
    assert main() == 0
    assert read_contract(path).size == (33, 48)
    assert read_contract(path).slots == 4
    assert "against PyTorch" in capsys.readouterr().out


def test_a_missing_checkpoint_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path / "none.pt"), "--size", "64x64"])
    assert main() == 2
    assert capsys.readouterr().err.count("\n") == 1
