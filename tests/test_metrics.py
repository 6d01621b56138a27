"""The metrics against published scores: those in tests/metrics, or in the folder RTMATTE_METRICS names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import metrics
from benchmarks.metrics import ClipScorer, MetricProtocol, clip_mean, mean_of_clips, published_mean, score_clip
from rtmatte.errors import InputError

FOLDER = Path(os.environ.get("RTMATTE_METRICS") or Path(__file__).parent / "metrics")
Clip = NDArray[np.uint8]


def expected_cases() -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())["cases"]
    return cases


def sequence_files() -> list[Path]:
    return sorted(FOLDER.glob("*.npz")) or [FOLDER / "sequences.npz"]


def cases_in(path: Path) -> list[str]:
    with path.open("rb") as file, np.load(file) as arrays:  # NumPy leaves a damaged file open
        return sorted({name.rpartition("__")[0] for name in arrays.files})


def cases() -> list[Any]:
    # Names only: a file that cannot be read is a failed test under its name, and not a silent empty list.
    found = []
    for path in sequence_files():
        try:
            names = cases_in(path) or ["empty"]
        except (OSError, ValueError, EOFError, BadZipFile):
            names = ["unreadable"]
        found += [pytest.param(path, name, id=f"metric-{path.stem}-{name}") for name in names]
    return found


def case_clips(path: Path, case: str) -> tuple[Clip, Clip]:
    with path.open("rb") as file, np.load(file) as arrays:
        return arrays[f"{case}__pred"], arrays[f"{case}__true"]


def blob(height: int = 40, width: int = 60, *, left: int = 20, value: int = 255) -> Clip:
    matte = np.zeros((height, width), np.uint8)
    matte[10:30, left : left + 20] = value
    return matte


@pytest.mark.parametrize("protocol", ["lr", "hr"])
@pytest.mark.parametrize(("path", "case"), cases())
def test_metric_equals_the_published_value(path: Path, case: str, protocol: MetricProtocol) -> None:
    expected = expected_cases()[case][protocol]
    assert expected["per_frame"]
    assert set(expected["per_frame"]) == set(expected["clip_mean"])

    scores = score_clip(*case_clips(path, case), protocol=protocol)

    for name, values in expected["per_frame"].items():
        np.testing.assert_allclose(scores.per_frame[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    for name, value in expected["clip_mean"].items():
        np.testing.assert_allclose(scores.clip_mean[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_metric_folder_has_expected_values_for_every_sequence_and_a_sequence_for_every_value() -> None:
    assert {case for path in sequence_files() for case in cases_in(path)} == set(expected_cases())


def test_hr_protocol_has_no_conn() -> None:
    scores = score_clip([blob()], [blob()], protocol="hr")

    assert set(scores.per_frame) == {"mad", "mse", "grad", "dtssd", "core"}


def test_core_forgives_two_pixels_at_the_edge_and_not_three() -> None:
    two, three = blob(left=22), blob(left=23)

    assert metrics.core(two, blob()) == 0
    assert metrics.core(three, blob()) > 0
    assert metrics.mad(two, blob()) > 0


@pytest.mark.parametrize("degrees", [0, 10, 26.565, 30, 45, 60, 80])
def test_core_forgives_two_pixels_at_an_edge_of_any_slope(degrees: float) -> None:
    slope = np.deg2rad(degrees)
    y, x = np.mgrid[-40:41, -40:41]
    distance = x * np.cos(slope) + y * np.sin(slope) + 0.2
    truth = (distance > 0).astype(np.uint8) * 255
    inside = (np.abs(x) < 37) & (np.abs(y) < 37)  # the edge ends where the picture does

    def core_of_errors_from(near: float, far: float) -> float:
        wrong = inside & (np.abs(distance) >= near) & (np.abs(distance) < far)
        return metrics.core(np.where(wrong, 255 - truth, truth), truth)

    assert core_of_errors_from(0, 2) == 0
    assert core_of_errors_from(2.5, 3.5) > 0


def test_core_is_a_mean_over_the_pixels_outside_the_band() -> None:
    truth, haze = np.zeros((40, 60), np.uint8), np.full((40, 60), 51, np.uint8)

    assert metrics.core(haze, truth) == pytest.approx(200)
    assert metrics.core(haze, blob(value=100)) == pytest.approx(metrics.mad(haze, blob(value=100)))
    # A hole of 100 pixels; the band takes 2 px on either side of a 20x20 square, corners rounded.
    hole = blob()
    hole[15:25, 25:35] = 0
    outside = 40 * 60 - (24 * 24 - 4) + 16 * 16
    assert metrics.core(hole, blob()) == pytest.approx(1000 * 100 / outside)


def test_core_of_a_truth_that_is_all_edge_is_zero() -> None:
    assert metrics.core(np.array([[255, 255]], np.uint8), np.array([[0, 255]], np.uint8)) == 0


def test_dtssd_leaves_a_constant_error_alone() -> None:
    scores = score_clip([blob(left=10)] * 3, [blob()] * 3)

    assert scores.per_frame["dtssd"] == [0, 0, 0]
    assert scores.clip_mean["mad"] > 0


def test_published_average_equals_the_plain_one_for_equal_lengths() -> None:
    clips = [{"mad": [1.0, 2.0, 6.0]}, {"mad": [5.0, 0.0, 1.0]}]

    assert mean_of_clips(clips) == pytest.approx({"mad": 2.5})
    assert published_mean(clips) == pytest.approx({"mad": 2.5})


def test_published_average_drops_frames_past_the_first_clip_and_weighs_late_frames_by_who_has_them() -> None:
    short_first = [{"mad": [1.0, 3.0]}, {"mad": [3.0, 5.0, 1000.0]}]
    long_first = [{"mad": [3.0, 5.0, 10.0]}, {"mad": [1.0, 3.0]}]

    assert published_mean(short_first) == {"mad": 3.0}
    assert published_mean(long_first) == pytest.approx({"mad": (2 + 4 + 10) / 3})
    assert mean_of_clips(long_first) == pytest.approx({"mad": (6 + 2) / 2})


def test_published_average_counts_700_frames_at_most() -> None:
    clip = {"mad": [1.0] * 700 + [50.0] * 300}

    assert published_mean([clip]) == {"mad": 1.0}
    assert clip_mean(clip) == pytest.approx({"mad": 15.7})


def test_clips_of_unequal_length_are_refused() -> None:
    with pytest.raises(InputError, match="same number of frames"):
        score_clip([blob()], [blob(), blob()])


@pytest.mark.parametrize(
    ("pred", "true"),
    [
        (blob(), blob(width=61)),
        (blob().astype(np.float32), blob()),
        (blob(), np.zeros((40, 60, 1), np.uint8)),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8)),
    ],
)
def test_frames_that_are_no_pair_of_mattes_are_refused(pred: Any, true: Any) -> None:
    with pytest.raises(InputError, match="found"):
        ClipScorer().add(pred, true)


def test_a_size_that_changes_within_a_clip_is_refused() -> None:
    scorer = ClipScorer()
    scorer.add(blob(), blob())

    with pytest.raises(InputError, match="one size"):
        scorer.add(blob(width=61), blob(width=61))
