"""The benchmark of sessions that share an engine: who is served, and the file it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import streams
from benchmarks.compositing import scenes
from benchmarks.streams import SETTLING, TURN, Streams, measure
from rtmatte.backends.fake import FakeEngine
from rtmatte.frame import Mask, Phase
from tests.toy_model import save_toy, toy_contract

SIZE = (64, 48)


def made(engine: FakeEngine, count: int) -> Streams:
    drawn = scenes(SIZE, SIZE)
    alpha = drawn[0].alpha
    assert alpha is not None
    return Streams(engine, [matte.frame for matte in drawn], Mask((alpha > 0.5).astype(np.float32)), count)


def test_every_session_of_the_engine_tracks_its_own_person() -> None:
    served = made(FakeEngine(*SIZE), 3)

    served.round(3)

    assert [session.status.phase for session in served.sessions] == [Phase.TRACKING] * 3


def test_so_many_sessions_get_a_frame_as_are_asked_for() -> None:
    engine = FakeEngine(*SIZE)
    served = made(engine, 3)
    before = len(engine.calls)

    served.round(2)

    assert len(engine.calls) - before == 2


def test_every_number_of_sessions_is_timed_by_the_frame() -> None:
    engine = FakeEngine(*SIZE)
    served = made(engine, 2)
    before = len(engine.calls)

    found = measure(served, (1, 2), TURN - SETTLING)

    assert len(engine.calls) - before == TURN * (1 + 2)
    assert list(found) == ["1", "2"]
    assert all(0 < one["wall_ms"]["p50"] <= one["wall_ms"]["p99"] for one in found.values())
    assert found["1"]["to_one"] == 1.0


def test_the_report_has_times_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["streams"])
    monkeypatch.setattr(streams, "open_engine", lambda *_, **__: FakeEngine(*SIZE))
    model, out = save_toy(tmp_path / "toy.onnx", toy_contract()), tmp_path / "streams.json"

    streams.main(str(model), size="64x48", sessions=3, frames=8, threads=1, json=out)

    report = json.loads(out.read_text())
    assert list(report["sessions"]) == ["1", "2", "3"]
    assert set(report["memory_mb"]) == {"engine and first session", "each further session", "an engine of its own"}
