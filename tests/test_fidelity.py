"""The fidelity benchmark: what it reports, and that a graph that is not its checkpoint's fails it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks import fidelity
from export.to_onnx import export_step
from rtmatte.contract import METADATA_KEY
from rtmatte.errors import ModelError
from rtmatte.network.checkpoint import open_step
from rtmatte.network.matanyone.step import contract_of
from tests.lite_weights import write_checkpoint


@pytest.fixture(scope="module")
def files(lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of lite with random weights, and its graph."""
    graph = tmp_path_factory.mktemp("fidelity") / "lite.onnx"
    step, contract = open_step(lite_checkpoint, width=66, height=50)
    export_step(step, contract, graph, half_weights=False)
    return lite_checkpoint, graph


def test_a_true_graph_passes_and_its_errors_are_written_frame_by_frame(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fidelity"])
    checkpoint, graph = files
    fidelity.main(graph, checkpoint, backend="cpu", frames=12, threads=1, json=tmp_path / "f.json")
    report = json.loads((tmp_path / "f.json").read_text())
    for kind in ("free", "by_step"):
        assert len(report[kind]["mean_of_frame"]) == 12
        assert report[kind]["mean"] <= report["tolerance"]["mean"]
    assert report["backend"] == "onnxruntime cpu"


def test_a_graph_with_a_changed_weight_fails(files: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, graph = files
    model = onnx.load(graph)
    weight = next(t for t in model.graph.initializer if "head.weight" in t.name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.2), weight.name))
    kept = {p.key: p.value for p in model.metadata_props if p.key == METADATA_KEY}
    helper.set_model_props(model, kept)
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(ModelError, match=r"is not true to lite\.pt"):
        fidelity.main(tmp_path / "changed.onnx", checkpoint, backend="cpu", frames=12, threads=1)


@pytest.mark.parametrize(
    ("variant", "stepwise", "reading"),
    [
        ("parity", False, "parity"),
        ("fast", False, "parity"),
        ("fast", True, "fast"),
        ("fast-int8", True, "fast"),
        ("fast-fp16", True, "fast"),
        ("parity-int8", True, "parity"),
    ],
)
def test_low_precision_is_held_against_its_own_reading_of_the_memory_and_float32_against_the_authors(
    variant: str, stepwise: bool, reading: str
) -> None:
    contract = replace(contract_of(width=96, height=80), variant=variant)

    assert fidelity.reading_of(contract, stepwise=stepwise) == reading


def test_a_graph_of_other_weights_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    _, graph = files
    other = write_checkpoint(tmp_path / "other.pt", seed=6)
    with pytest.raises(ModelError, match="expected the checkpoint that the graph was made from"):
        fidelity.main(graph, other, backend="cpu", frames=12, threads=1)
