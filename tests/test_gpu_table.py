"""The table of GPU figures, as far as it goes without a GPU: pacing, ratios, bars, and the line where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu_bars, gpu_systems, gpu_table, report
from benchmarks.gpu_bars import Bar, bars
from benchmarks.gpu_systems import CAPTURED, LITE_SIZE, PLAIN, SPLIT, Row, Say
from benchmarks.gpu_table import against_eager, against_onnxruntime, figures, measured, nothing
from benchmarks.gpu_timing import PERIOD, WARM, paced_composites, paced_steps
from rtmatte.backends.eager_cuda import resident
from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.compose.device import DeviceDrawing
from rtmatte.cuda import Gpu, find_gpu
from rtmatte.errors import BackendMissing, EngineError
from rtmatte.network.checkpoint import open_step
from rtmatte.step import Engine
from rtmatte.torch_device import TorchDevice

ERRORS = {"frames": 300, "mean": 2e-4, "last_mean": 2e-3, "greatest": 0.1}


class Time:
    """A clock that only sleeping moves; `starts` is when each sleep ended."""

    def __init__(self) -> None:
        self.now, self.starts = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.starts.append(round(self.now, 6))


def test_paced_steps_begin_a_period_apart_and_only_their_own_time_counts() -> None:
    time = Time()

    seconds = paced_steps(FakeEngine(32, 24), 3, now=lambda: time.now, sleep=time.sleep)

    assert time.starts == [round(n * PERIOD, 6) for n in (1, 2, 3)]
    assert seconds.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("drawn_there", [True, False])
def test_paced_composites_are_drawn_and_counted_once_warm(drawn_there: bool) -> None:
    time, drawing = Time(), DeviceDrawing(TorchDevice("cpu")) if drawn_there else None

    seconds = paced_composites(FakeEngine(32, 24), drawing, 3, now=lambda: time.now, sleep=time.sleep)

    assert len(time.starts) == WARM + 3
    assert seconds.tolist() == [0.0, 0.0, 0.0]


def test_a_line_that_shows_nobody_is_no_figure() -> None:
    time, engine = Time(), FakeEngine(32, 24, faults=Faults(fail_at=frozenset({20})))

    with pytest.raises(EngineError, match="has no matte"):
        paced_composites(engine, None, 3, now=lambda: time.now, sleep=time.sleep)


def row(system: str, step: float, engine: Engine | None = None, *, size: tuple[int, int] = (512, 288)) -> Row:
    fake = engine or FakeEngine(32, 24)
    return Row("matanyone", size, system, fake, [np.full(4, step)], [np.full(4, step / 2)])


def test_ratio_is_of_medians_against_plain_float32_of_the_same_size() -> None:
    plain, fast = figures([row(PLAIN, 0.060), row(CAPTURED, 0.010)])

    assert plain["ratio"] == 1.0
    assert fast["ratio"] == 6.0
    assert fast["step_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert fast["paced_ms"]["p50"] == 5.0
    assert "ratio" not in figures([row(CAPTURED, 0.010)])[0]


def test_every_figure_that_is_asked_for_has_its_bar() -> None:
    large = row(SPLIT, 0.008, size=(1280, 720)), row(CAPTURED, 0.012, size=(1280, 720))
    table = figures([row(PLAIN, 0.060), row(CAPTURED, 0.010), row(SPLIT, 0.007), *large])
    table[2]["single_steps"] = {"frames": 24, "mean": 2e-4, "last_mean": 3e-4, "greatest": 0.1}
    table[3]["line_ms"] = {"p50": 7.5, "p95": 9.0, "p99": 12.5}
    lite = {"model": "lite", "size": "512x288", "system": "rtx", "free_running": ERRORS}

    found = {bar.name: (bar.limit, bar.found, bar.met) for bar in bars([*table, lite])}

    assert found == {
        "512x288 torch half, captured: times plain float32": (6.0, 6.0, True),
        "512x288 torch half, captured: p99 / p50": (1.1, 1.0, True),
        "512x288 alpha of the head / whole step": (0.75, 0.7, True),
        "1280x720 torch half, captured: times plain float32": (4.0, None, None),
        "1280x720 torch half, captured: p99 / p50": (1.1, 1.0, True),
        "1280x720 alpha of the head / whole step": (0.75, 0.667, True),
        "matanyone 512x288 torch half, head and tail: error, single steps over 24 frames": (1e-3, 3e-4, True),
        "matanyone 1280x720 torch half, head and tail: frame in to composite out, p50 ms": (8.0, 7.5, True),
        "matanyone 1280x720 torch half, head and tail: frame in to composite out, p99 ms": (12.0, 12.5, False),
        "lite 512x288 rtx: error, free-running over 300 frames": (1e-3, 2e-3, False),
    }


def test_a_bar_says_whether_it_is_met() -> None:
    assert str(Bar("ratio", 6, 5.9, at_least=True)) == "ratio >= 6: 5.9 (NOT MET)"
    assert str(Bar("p99", 12, 11.5)) == "p99 <= 12: 11.5 (met)"
    assert Bar("p99", 12, None).entry() == {"bar": "p99", "asked": 12, "found": None, "met": None}
    assert gpu_bars.ERROR == 1e-3


def test_a_system_that_fails_on_the_way_is_left_out_and_named() -> None:
    said: list[str] = []
    failing = Row("lite", (512, 288), "failing", FakeEngine(32, 24, faults=Faults(fail_at=frozenset({9}))))
    sound = Row("lite", (512, 288), "sound", FakeEngine(32, 24))

    (entry,) = measured([failing, sound], 1, nothing, said.append)

    assert entry["system"] == "sound"
    assert set(entry) >= {"step_ms", "paced_ms", "line_drawn_here_ms"}
    assert said[0].startswith("failed: lite 512x288 on failing: ")


def test_lite_is_compared_running_free_with_the_graph_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_table, "FREE", 4)
    engine = resident([gpu_systems.lite_step()], TorchDevice("cpu"), backend="cpu")
    same = Row("lite", LITE_SIZE, "torch", engine)

    found = against_onnxruntime(same)["free_running"]

    assert found["frames"] == 4
    assert found["mean"] < gpu_bars.ERROR


def test_single_steps_of_a_head_and_its_tail_are_compared_from_the_states_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_table, "STEPS", 2)
    weights = gpu_systems.calibrated_weights(tmp_path)
    parts = [open_step(weights, width=112, height=80, variant="fast", part=part) for part in ("head", "tail")]
    split = row(SPLIT, 0.01, resident(parts, TorchDevice("cpu"), backend="cpu"), size=(112, 80))

    found = against_eager(weights)(split)["single_steps"]

    assert found["frames"] == 2
    assert found["mean"] < 1e-5  # the same arithmetic, in float32

    with pytest.raises(EngineError, match="cannot be set"):
        against_eager(weights)(row(SPLIT, 0.01))


def test_what_is_not_installed_is_left_out_and_named() -> None:
    said: list[str] = []

    def make() -> Engine:
        raise BackendMissing("no such library")

    assert not list(gpu_systems.tried("lite", (512, 288), "rtx", make, said.append))
    assert said == ["left out: lite 512x288 on rtx: no such library"]


def test_the_whole_table_is_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lite(say: Say) -> Iterator[Row]:
        say("left out: lite on rtx: nothing here")
        yield Row("lite", LITE_SIZE, "onnxruntime", FakeEngine(32, 24))

    def matanyone(weights: Path, size: tuple[int, int], folder: Path, say: Say) -> Iterator[Row]:
        yield Row("matanyone", size, PLAIN, FakeEngine(32, 24))

    monkeypatch.setattr(gpu_table, "gpu_here", lambda: Gpu("NVIDIA RTX A", (8, 9), 13000))
    monkeypatch.setattr(gpu_table, "lite_systems", lite)
    monkeypatch.setattr(gpu_table, "matanyone_systems", matanyone)
    monkeypatch.setattr(gpu_table, "against_eager", lambda weights: nothing)
    monkeypatch.setattr(gpu_table, "paced_steps", lambda engine, frames: np.full(frames, 0.01))
    monkeypatch.setattr(gpu_table, "paced_composites", lambda engine, drawing, frames: np.full(frames, 0.02))
    monkeypatch.setattr(gpu_table, "against_onnxruntime", lambda row: {"free_running": ERRORS})
    monkeypatch.setattr(gpu_table, "ROUNDS", 2)

    gpu_table.main(weights=tmp_path / "any.pth", frames=1, json=tmp_path / "gpu.json")

    written: dict[str, Any] = json.loads((tmp_path / "gpu.json").read_text())
    assert (written["gpu"], written["capability"]) == ("NVIDIA RTX A", "sm89")
    assert [each["size"] for each in written["rows"]] == ["512x288", "512x288", "1280x720"]
    assert written["rows"][0]["free_running"] == ERRORS
    assert {"bar", "asked", "found", "met"} == set(written["bars"][0])
    assert written["left_out"] == ["left out: lite on rtx: nothing here"]


def test_without_a_gpu_it_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        find_gpu()
    except BackendMissing:
        monkeypatch.setattr("sys.argv", ["gpu_table"])
        with pytest.raises(SystemExit) as caught:
            report.run(gpu_table.main)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    else:
        pytest.skip("there is a GPU here")


def test_where_only_pytorch_knows_the_gpu_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Gpu:
        raise BackendMissing("cuda-bindings is not installed")

    monkeypatch.setattr(gpu_table, "find_gpu", missing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")

    assert gpu_table.gpu_here() == Gpu("NVIDIA H200", (9, 0), 0)
