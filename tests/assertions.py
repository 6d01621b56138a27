"""The tolerances of the tests, each with its reason. No test has a number of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from export.check import Drift  # it loads PyTorch, which most tests do without

BYTES = 0.005  # an alpha read back from pixels that were rounded to bytes, person and room about 130 levels apart
ROUNDING = 1e-6  # float32 sums of a few terms in 0..1, taken in another order
GOLDEN_ALPHA_MEAN = 1e-5  # against stored alphas, float32 eager, per clip
GOLDEN_ALPHA_MAX = 2e-3  # rounding may flip one token of a query's mask at p = 0.5
GOLDEN_PART_MEAN = 1e-5  # intermediates, relative to their standard deviation
GOLDEN_PART_MAX = 1e-3
SAME_STEP_MEAN = 2e-6  # one float32 network in another arrangement: cut in two, batched, in pieces
SAME_STEP_MAX = 2e-3
GRAPH_ALPHA_MEAN = 1e-5  # a graph in a runtime behind a session, against stored alphas
GRAPH_ALPHA_MAX = 5e-3  # a runtime's own order of sums may flip a token, or swap the 30th and 31st best
FAST_MEAN = 5e-4  # reading all of the memory instead of the 30 best tokens, on untrained weights
HALF_STEP_MEAN = 1e-3  # steps in half precision from float32 states, over all frames, on untrained weights
HALF_DRIFT_MEAN = 1e-3  # half precision feeding on its own states, on trained weights
SUM_RELATIVE = 1e-6  # the object memory's sums against float64
RESIZE = 1e-4  # a resize against PyTorch's, on 0..255
BFLOAT16_MEANS = 5e-3  # block means of alphas computed in bfloat16, 8 bits of mantissa, against float32
BFLOAT16_STEP_MEAN = 5e-3  # one step in bfloat16 from a float32 state, on untrained weights
BATCH_MAX = 1e-5  # one row of lite among others against the row alone
FOLDED_MAX = 1e-4  # features with a batch norm folded into the convolution before it
SOAK_BYTES = 5_000_000  # growth of the process over 10,000 frames
LEVEL = 1  # of 255: one rounding of a picture
BLUR_MEAN = 0.35  # levels: a blur at reduced size against the full-size one, rounding (0.25) included
PATH_MEAN = 2.0  # levels: a video path from file to file, the promise of the README
CODEC_EDGE = 0.1  # of a picture's pixels: edges between patches, where halved chroma and the codec may blur
EXACT_LEVELS = 2  # inside a patch: YCbCr rounded to bytes moves RGB by two levels at most
MEMORY_NOISE = 10 * 2**20  # bytes of RSS that come and go by themselves; 350 pictures held back would be 40 MB
MEDIA_TIME = 1e-3  # seconds: Matroska keeps milliseconds
SHRUNK_NOISE = 1.15  # white noise made smaller, over its means of areas; single pixels keep 1.9 to 26 times as much
SHRUNK_LIKENESS = 0.65  # correlation of the same; single pixels have 0.3 at most
ROOM_SHARE = 0.02  # of the room's colour in what is truly room and far from any edge: nothing, but for coding
DESPILLED = 0.35  # of the colour error at the edge of two flat colours: most of it is gone
EDGE_PLACE = 1.3  # pixels of a frame 2.5 times the working size: half a working pixel
LINE_DETAIL = 0.02  # alpha that a slope in whole levels may add or take over 255 levels of luma
COLOURS_MOST, COLOURS_MEAN = 2, 0.6  # levels between the edge's colours in whole numbers and in double precision
PART_LEVELS = {"float32": 0.01, "int16": 1}  # a part of a picture of 0..255 made larger, against the whole
BLEED_MOST = 3  # levels of a white person that reach a black room through the blur, as seen behind the person


def assert_equal_but_rounding(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails unless two arrays of one shape, with values about 0..1, differ by float32 rounding at most."""
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def assert_alpha_but_bytes(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails unless an alpha made from the pixels of a made scene is the scene's own, as far as bytes can say it."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=BYTES)


def assert_golden_alpha(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when an eager float32 alpha differs from the reference's."""
    _assert_near(found, expected, mean=GOLDEN_ALPHA_MEAN, most=GOLDEN_ALPHA_MAX, what=what)


def assert_golden_part(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when an intermediate differs from the reference's by more than a share of the latter's spread."""
    spread = expected.astype(np.float64).std()
    assert spread > 0, f"{what}: the reference's values are all alike, so nothing would be checked"
    _assert_near(found / spread, expected / spread, mean=GOLDEN_PART_MEAN, most=GOLDEN_PART_MAX, what=what)


def assert_golden_sum(found: NDArray[Any], expected: NDArray[Any], scale: NDArray[Any], what: str) -> None:
    """Fails when sums over parts of the reference differ; `scale` is the terms' spread times their number."""
    _assert_near(found / scale, expected / scale, mean=GOLDEN_PART_MEAN, most=GOLDEN_PART_MEAN, what=what)


def assert_same_step(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when two arrangements of the same float32 network disagree, relative to the spread where that exceeds 1."""
    spread = max(1.0, float(expected.astype(np.float64).std()))
    _assert_near(found / spread, expected / spread, mean=SAME_STEP_MEAN, most=SAME_STEP_MAX, what=what)


def assert_graph_alpha(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when an exported graph's alpha differs from the reference's."""
    _assert_near(found, expected, mean=GRAPH_ALPHA_MEAN, most=GRAPH_ALPHA_MAX, what=what)


def assert_fast_network(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when the alphas of the fast variant are too far from those of parity."""
    _assert_near(found, expected, mean=FAST_MEAN, most=1, what=what)


def assert_same_drift(drift: Drift) -> None:
    """Fails unless two free-running arrangements of the same float32 network agree, to the end."""
    assert max(drift.mean, drift.last_mean) <= SAME_STEP_MEAN, str(drift)
    assert drift.greatest <= SAME_STEP_MAX, str(drift)


def assert_step_in_half(drift: Drift) -> None:
    """Fails unless steps in half precision, each from a float32 state, stay near float32 on the mean of all frames."""
    assert drift.mean <= HALF_STEP_MEAN, str(drift)


def assert_step_in_bfloat16(drift: Drift) -> None:
    """Fails unless steps in bfloat16 stay near the float32 ones they started with, over all and at the end."""
    assert max(drift.mean, drift.last_mean) <= BFLOAT16_STEP_MEAN, str(drift)


def assert_half_drift(drift: Drift) -> None:
    """Fails unless a free-running network in half precision stays near the float32 one, to the end."""
    assert max(drift.mean, drift.last_mean) <= HALF_DRIFT_MEAN, str(drift)


def assert_same_sum(found: NDArray[Any], expected: NDArray[np.float64], what: str) -> None:
    """Fails when a sum is further from the float64 one than its share."""
    np.testing.assert_allclose(found, expected, rtol=SUM_RELATIVE, atol=0, err_msg=what)


def assert_same_picture(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Fails when a resized picture or mask in 0..255 differs by more than rounding."""
    _assert_near(found, expected, mean=RESIZE, most=RESIZE, what=what)


def assert_within_a_level(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails when two pictures in 0..255 differ by more than one rounding anywhere."""
    assert found.shape == expected.shape
    error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    assert error.max() <= LEVEL, f"{np.count_nonzero(error > LEVEL)} values differ, by up to {error.max():.1f} levels"


def _assert_near(found: NDArray[Any], expected: NDArray[Any], *, mean: float, most: float, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: expected shape {expected.shape}, found {found.shape}"
    assert found.size, f"{what}: there is nothing to compare"
    error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    text = f"{what}: mean error {error.mean():.2e} (limit {mean:.0e}), largest {error.max():.2e} (limit {most:.0e})"
    assert error.mean() < mean, text  # also fails on NaN
    assert error.max() < most, text


def assert_colours(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails unless a decoded picture has the expected colours everywhere but along edges."""
    assert found.shape == expected.shape
    off = np.abs(found.astype(np.int16) - expected.astype(np.int16)).max(axis=2) > EXACT_LEVELS
    assert off.mean() <= CODEC_EDGE


def assert_path_colours(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails unless a picture came through a whole path, edges included, within the promised mean difference."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(np.float64) - expected).mean() <= PATH_MEAN


def assert_media_times(found: Sequence[float | None], expected: Sequence[float]) -> None:
    """Fails unless frames have the expected pts, as finely as containers keep them."""
    times = [np.nan if pts is None else pts for pts in found]
    np.testing.assert_allclose(times, expected, rtol=0, atol=MEDIA_TIME)


def assert_no_growth(memory: Sequence[int]) -> None:
    """Fails when a process holds more memory, in bytes, at the last look than at the first."""
    assert memory[-1] - memory[0] <= MEMORY_NOISE


def assert_bfloat16_means(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Fails unless the means of a bfloat16 alpha are those of the float32 one, as far as that precision goes."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=BFLOAT16_MEANS)


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what was said on stderr, which must be one line in our own words."""
    said = capsys.readouterr().err
    assert said.startswith("rtmatte: "), said
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    assert "mistake in rtmatte" not in said
    return said
