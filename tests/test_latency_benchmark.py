"""The latency benchmark: what it measures and the file it writes, whose keys others rely on."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import latency
from benchmarks.latency import BURN_IN, STREAM, growth, measure
from rtmatte.backends.fake import FakeEngine
from rtmatte.errors import InputError
from rtmatte.modelfile import sha256_of
from tests.toy_model import save_toy, toy_contract


def test_only_ordinary_steps_after_the_burn_in_are_timed() -> None:
    engine = FakeEngine(64, 48)
    seconds = measure(engine, 7)
    assert seconds.shape == (7,)
    assert (seconds > 0).all()
    assert [call[0] for call in engine.calls[:2]] == ["seed", "settle"]
    assert len(engine.calls) == 2 + BURN_IN + 7
    assert sum(call[0].startswith("write") for call in engine.calls) == (BURN_IN + 7) // engine.contract.write_every


def test_the_report_has_the_keys_others_rely_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["latency"])
    model, out = save_toy(tmp_path / "toy.onnx", toy_contract()), tmp_path / "latency.json"
    latency.main(str(model), size="16x8", frames=20, threads=1, backend="cpu", json=out)
    report = json.loads(out.read_text())
    assert report["sha256"] == sha256_of(model)
    assert (report["size"], report["threads"], report["frames"]) == ("16x8", 1, 20)
    assert set(report["step_ms"]) == {"p50", "p95", "p99"}
    assert 0 < report["step_ms"]["p50"] <= report["step_ms"]["p95"] <= report["step_ms"]["p99"]
    assert report["model"] == "toy"


def test_a_graph_of_another_size_is_refused_with_its_own(tmp_path: Path) -> None:
    model = save_toy(tmp_path / "toy.onnx", toy_contract())
    with pytest.raises(InputError, match="one for 16x8"):
        latency.main(str(model), size="32x32", frames=20, threads=1, backend="cpu")


def test_growth_is_the_late_steps_median_over_the_early_ones() -> None:
    seconds = np.concatenate([np.full(30, 0.010), np.full(210, 0.5), np.full(30, 0.012)])
    seconds[3] = 9.0  # one hiccup
    assert growth(seconds) == pytest.approx(1.2)


def test_growth_is_reported_for_a_run_of_300_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["latency"])
    model, out = save_toy(tmp_path / "toy.onnx", toy_contract()), tmp_path / "latency.json"
    latency.main(str(model), size="16x8", frames=STREAM, threads=1, backend="cpu", json=out)
    assert json.loads(out.read_text())["growth"] > 0
