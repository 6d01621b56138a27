"""The table of GPU figures, as far as it goes without a GPU: pacing, ratios, and the one line where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gpu_table, report
from benchmarks.gpu_table import MEASURE, PERIOD, Row, figures, measure_paced
from rtmatte.backends.fake import FakeEngine
from rtmatte.cuda import find_gpu
from rtmatte.errors import BackendMissing


def test_paced_steps_begin_a_period_apart_and_only_their_own_time_counts() -> None:
    time, starts = [0.0], []

    def sleep(seconds: float) -> None:
        time[0] += seconds
        starts.append(round(time[0], 6))

    seconds = measure_paced(FakeEngine(32, 24), 3, now=lambda: time[0], sleep=sleep)

    assert starts == [round(n * PERIOD, 6) for n in (1, 2, 3)]
    assert seconds.tolist() == [0.0, 0.0, 0.0]


def row(system: str, step: float) -> Row:
    return Row("matanyone", (512, 288), system, FakeEngine(32, 24), [np.full(4, step)], [np.full(4, step / 2)])


def test_ratio_is_of_medians_against_plain_float32_of_the_same_size() -> None:
    plain, fast = figures([row(MEASURE, 0.060), row("captured", 0.010)])

    assert plain["ratio"] == 1.0
    assert fast["ratio"] == 6.0
    assert fast["step_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert fast["paced_ms"]["p50"] == 5.0
    assert "ratio" not in figures([row("captured", 0.010)])[0]


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
