"""SAM 2 as far as it is ours: what it is asked, how its answer is read, and what is said when it is not there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.errors import BackendMissing, EngineError, ModelError
from rtmatte.frame import Frame
from rtmatte.targets import Pick, Point
from rtmatte.targets.sam2 import FEATURES, Arrays, Graph, OrtGraph, Sam2Picker

SIZE = 64
TAKES = (*FEATURES, "point_coords", "point_labels", "mask_input", "has_mask_input")


class FakeEncoder:
    """Gives the red of the picture as its features."""

    inputs: Mapping[str, Sequence[Any]] = {"image": [1, 3, SIZE, SIZE]}

    def run(self, feeds: Arrays) -> Arrays:
        return dict.fromkeys(FEATURES, feeds["image"][:, :1])


class FakeDecoder:
    """Gives three masks, the second of which it thinks most of: half of the picture, on the side of the first point."""

    def __init__(self, takes: Sequence[str] = TAKES, gives: Sequence[str] = ("masks", "iou_predictions")) -> None:
        self.inputs: Mapping[str, Sequence[Any]] = {name: [] for name in takes}
        self.fed: Arrays = {}
        self._gives = gives

    def run(self, feeds: Arrays) -> Arrays:
        self.fed = feeds
        logits = np.full((1, 3, 16, 16), -9.0, np.float32)
        logits[0, 1, :, : 8 if feeds["point_coords"][0, 0, 0] < SIZE / 2 else 16] = 9.0
        answer: dict[str, NDArray[Any]] = {"masks": logits, "iou_predictions": np.array([[0.2, 0.9, 0.4]], np.float32)}
        return {name: answer[name] for name in self._gives}


def folder_with(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def picker_of(tmp_path: Path, decoder: FakeDecoder) -> Sam2Picker:
    def open_graph(path: Path) -> Graph:
        return FakeEncoder() if "encoder" in path.name else decoder

    folder = folder_with(tmp_path, "sam2_encoder.onnx", "sam2_decoder.onnx")
    return Sam2Picker(folder, open_graph=open_graph)


def frame() -> Frame:
    return Frame(0, np.full((30, 40, 3), 200, np.uint8), 0.0)


def test_the_mask_that_is_thought_most_of_is_given_at_the_size_of_the_frame(tmp_path: Path) -> None:
    mask = picker_of(tmp_path, FakeDecoder()).pick(frame(), Pick((Point(0.25, 0.5),)))

    assert mask is not None
    assert mask.size == (40, 30)
    assert mask.values[:, :18].min() > 0.9
    assert mask.values[:, 22:].max() < 0.1


def test_points_and_a_box_are_asked_for_in_the_encoders_pixels(tmp_path: Path) -> None:
    decoder = FakeDecoder()

    picker_of(tmp_path, decoder).pick(frame(), Pick((Point(0.25, 0.5), Point(1, 0, wanted=False)), (0, 0, 0.5, 1)))

    assert decoder.fed["point_coords"].tolist() == [[[16, 32], [64, 0], [0, 0], [32, 64]]]
    assert decoder.fed["point_labels"].tolist() == [[1, 0, 2, 3]]
    assert decoder.fed["mask_input"].shape == (1, 1, 16, 16)
    assert decoder.fed["image_embed"][0, 0, 0, 0] == pytest.approx((200 / 255 - 0.485) / 0.229, rel=1e-4)


def test_a_decoder_is_fed_only_what_it_takes(tmp_path: Path) -> None:
    decoder = FakeDecoder(takes=TAKES[:5])

    picker_of(tmp_path, decoder).pick(frame(), Pick((Point(0.25, 0.5),)))

    assert set(decoder.fed) == set(TAKES[:5])


def test_other_models_are_refused_by_what_they_take_and_give(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="point_labels"):
        picker_of(tmp_path, FakeDecoder(takes=TAKES[:4]))
    with pytest.raises(EngineError, match="scores"):
        picker_of(tmp_path, FakeDecoder(gives=("masks",))).pick(frame(), Pick((Point(0.25, 0.5),)))


def test_a_folder_without_it_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="one SAM 2 encoder"):
        Sam2Picker(tmp_path)
    with pytest.raises(ModelError, match="one SAM 2 decoder"):
        Sam2Picker(folder_with(tmp_path, "encoder.onnx"), open_graph=lambda path: FakeEncoder())


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")

    with pytest.raises(ModelError, match="can open"):
        Sam2Picker(folder_with(tmp_path, "encoder.onnx", "decoder.onnx"))


def test_without_onnxruntime_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(BackendMissing, match=r"rtmatte\[cpu\]"):
        OrtGraph(tmp_path / "encoder.onnx")
