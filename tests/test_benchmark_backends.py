"""The comparison of backends: what is timed, in which order, and the report others rely on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import backends
from benchmarks.backends import BURN_IN, REFERENCE, Stream, measure
from export.to_onnx import export_step
from rtmatte.backends.fake import FakeEngine
from rtmatte.errors import InputError
from rtmatte.network.checkpoint import open_step

pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'rtmatte[openvino]'")


def test_only_ordinary_steps_with_their_stores_are_timed_and_every_backend_takes_as_many() -> None:
    engines = {name: FakeEngine(64, 48) for name in ("first", "second", "third")}

    timings = measure({name: Stream(engine) for name, engine in engines.items()}, 8)

    assert [timing.name for timing in timings] == list(engines)
    for timing, engine in zip(timings, engines.values(), strict=True):
        assert len(timing.seconds) == 8
        kinds = [call[0] for call in engine.calls]
        assert kinds[:2] == ["seed", "settle"]
        assert len(kinds) == 2 + BURN_IN + 8
        assert sum(kind.startswith("write") for kind in kinds) == (BURN_IN + 8) // engine.contract.write_every


def test_the_report_compares_every_backend_with_pytorch(lite_checkpoint: Path, tmp_path: Path) -> None:
    graph, out = tmp_path / "lite.onnx", tmp_path / "backends.json"
    step, contract = open_step(lite_checkpoint, width=64, height=48)
    export_step(step, contract, graph, half_weights=False)

    # In a process of its own: after AMX products a signal has been seen to end the process it reaches.
    command = [sys.executable, "-m", "benchmarks.backends", str(lite_checkpoint), str(graph)]
    command += ["--int8", str(graph), "--rounds", "2", "--json", str(out)]
    subprocess.run(command, check=True, capture_output=True)

    report = json.loads(out.read_text())
    assert (report["model"], report["size"], report["threads"], report["rounds"]) == ("lite", "64x48", 1, 2)
    assert len(report["files"]["lite.pt"]) == len(report["files"]["lite.onnx"]) == 64
    rows = report["backends"]
    assert next(iter(rows)) == REFERENCE
    assert len(rows) == 7
    for row in rows.values():
        expected = rows[REFERENCE]["cpu_ms"]["min"] / row["cpu_ms"]["min"]
        assert row["times_as_fast"]["min"] == pytest.approx(expected, abs=0.01)


def test_an_int8_graph_of_another_size_is_refused(lite_checkpoint: Path, tmp_path: Path) -> None:
    paths = []
    for width in (64, 80):
        step, contract = open_step(lite_checkpoint, width=width, height=48)
        paths.append(tmp_path / f"{width}.onnx")
        export_step(step, contract, paths[-1], half_weights=False)

    with pytest.raises(InputError, match="the int8 graph of"):
        backends.open_all(lite_checkpoint, paths[0], paths[1])
