"""The end-to-end benchmark: every frame of a video is counted, and every stage has its percentiles."""

from pathlib import Path

from benchmarks.end_to_end import measure
from tests.toy_model import save_toy, toy_contract


def test_a_video_is_drawn_whole_and_every_stage_timed(clip: Path, tmp_path: Path) -> None:
    model = save_toy(tmp_path / "toy.onnx", toy_contract())

    found = measure(clip, model=str(model), background="green", threads=1)

    assert found["frames"] > 1
    assert found["fps"] > 0
    assert {"network", "composited", "end to end"} <= set(found["stages_ms"])
    assert all(stage["p50"] <= stage["p99"] for stage in found["stages_ms"].values())
