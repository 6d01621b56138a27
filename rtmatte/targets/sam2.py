"""Picking by SAM 2 (Ravi and others, 2024), for whoever has it: two ONNX files of their own, never ours.

The usual export is meant: an encoder from a picture to features, and a decoder from those and points to masks, with
tensors called as below. onnxruntime is loaded with the first picker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import BackendMissing, EngineError, ModelError
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.imaging import resize
from rtmatte.targets import Pick

# Of ImageNet, as SAM 2 was trained.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
FEATURES = ("image_embed", "high_res_feats_0", "high_res_feats_1")  # the encoder gives, the decoder takes
POINTS, LABELS, MASK_IN, HAS_MASK = "point_coords", "point_labels", "mask_input", "has_mask_input"
MASKS, SCORES = "masks", "iou_predictions"
CORNERS = (2.0, 3.0)  # the labels of a box's two corners
LEAST = 0.0005  # of the picture; less than this is nothing

Arrays = Mapping[str, NDArray[Any]]


class Graph(Protocol):
    """One ONNX file, opened."""

    @property
    def inputs(self) -> Mapping[str, Sequence[Any]]:
        """The shape of each input by its name."""
        ...

    def run(self, feeds: Arrays) -> Arrays:
        """Returns every output by name."""
        ...


class Sam2Picker:
    """Picks by the encoder and the decoder in `folder`, files with those words in their names.

    Raises ModelError for a folder without them or with others, BackendMissing without onnxruntime.
    """

    def __init__(self, folder: Path, *, open_graph: Callable[[Path], Graph] | None = None) -> None:
        opened: Callable[[Path], Graph] = open_graph or OrtGraph
        self._encoder, self._decoder = opened(_only(folder, "encoder")), opened(_only(folder, "decoder"))
        missing = {*FEATURES, POINTS, LABELS} - self._decoder.inputs.keys()
        if missing or len(self._encoder.inputs) != 1:
            found = ", ".join(self._decoder.inputs)
            raise ModelError(
                f"expected a SAM 2 decoder that takes {', '.join(sorted(missing))}, found one with {found}"
            )
        self._input, shape = next(iter(self._encoder.inputs.items()))
        if len(shape) != 4 or not all(isinstance(side, int) for side in shape[2:]):
            raise ModelError(f"expected a SAM 2 encoder of one size, found {list(shape)}; export it with a fixed one")
        self._size = (shape[3], shape[2])

    def pick(self, frame: Frame, pick: Pick) -> Mask | None:
        """Returns what SAM 2 thinks most of, or None when that is nothing. EngineError when it fails."""
        features = self._encoder.run({self._input: self._prepared(frame)})
        answer = self._decoder.run(self._asked(features, pick))
        if not {MASKS, SCORES} <= answer.keys():
            raise EngineError(f"expected masks and their scores from the SAM 2 decoder, found {', '.join(answer)}")
        best = int(np.argmax(answer[SCORES].reshape(-1)))
        logits = np.asarray(answer[MASKS].reshape(-1, *answer[MASKS].shape[-2:])[best], np.float32)
        alpha: Alpha = 1.0 / (1.0 + np.exp(-logits.clip(-30.0, 30.0)))
        return Mask(resize(alpha, frame.size)) if (alpha > 0.5).mean() >= LEAST else None

    def _prepared(self, frame: Frame) -> NDArray[np.float32]:
        """Returns the picture as the encoder takes it, (1, 3, H, W), stretched."""
        pixels = np.asarray(resize(frame.pixels, self._size), np.float32) / np.float32(255)
        normal = (pixels - MEAN) / DEVIATION
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])

    def _asked(self, features: Arrays, pick: Pick) -> dict[str, NDArray[Any]]:
        """Returns what the decoder is fed, as far as it takes it."""
        places = [(point.x, point.y) for point in pick.points]
        labels = [float(point.wanted) for point in pick.points]
        if pick.box is not None:
            left, top, right, bottom = pick.box
            places += [(left, top), (right, bottom)]
            labels += CORNERS
        feeds: dict[str, NDArray[Any]] = {name: features[name] for name in FEATURES}
        feeds[POINTS] = np.array([places], np.float32) * np.array(self._size, np.float32)
        feeds[LABELS] = np.array([labels], np.float32)
        feeds[MASK_IN] = np.zeros([1, 1, self._size[1] // 4, self._size[0] // 4], np.float32)
        feeds[HAS_MASK] = np.zeros(1, np.float32)
        return {name: array for name, array in feeds.items() if name in self._decoder.inputs}


class OrtGraph:
    """An ONNX file, opened by onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as reason:
            raise BackendMissing("SAM 2 needs onnxruntime; run: pip install 'rtmatte[cpu]'") from reason
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as reason:  # onnxruntime has no error of its own that all of its errors are
            raise ModelError(f"expected an ONNX file that onnxruntime can open, found {path}: {reason}") from reason
        self.inputs = {each.name: each.shape for each in self._session.get_inputs()}

    def run(self, feeds: Arrays) -> Arrays:
        names = [each.name for each in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as reason:  # as above
            raise EngineError(f"SAM 2 failed: {reason}") from reason


def _only(folder: Path, word: str) -> Path:
    found = sorted(folder.glob(f"*{word}*.onnx"))
    if len(found) != 1:
        text = f"expected one SAM 2 {word}, a file *{word}*.onnx, in {folder}; found {len(found)}"
        raise ModelError(f"{text}; export yours into a folder of its own")
    return found[0]
