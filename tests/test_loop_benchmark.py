"""The loop and the soak benchmark: the number on the person survives the line, and ages are those of the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.loop import NUMBERS, STRIP, Pictures, measure
from benchmarks.soak import soak
from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import MonotonicClock
from rtmatte.frame import Frame, Mask
from rtmatte.sources.synthetic import SyntheticSource
from tests.assertions import SOAK_BYTES

SIZE = (320, 240)


class Disc:
    """A target that knows the disc."""

    name = "disc"

    def __init__(self, scene: SyntheticSource) -> None:
        self._scene = scene

    def propose(self, frame: Frame) -> Mask | None:
        return Mask((self._scene.alpha_of(0) > 0.5).astype(np.float32))


@pytest.fixture
def scene() -> SyntheticSource:
    return SyntheticSource(MonotonicClock(), size=SIZE)


@pytest.fixture
def pictures(scene: SyntheticSource) -> Pictures:
    rows, columns = np.nonzero(scene.alpha_of(0) > 0.99)
    middle = int(columns.mean()) - STRIP[0] // 2, int(rows.mean())
    return Pictures([scene.pixels_of(0)] * 2, middle)


def test_a_number_is_read_back_from_the_person(pictures: Pictures) -> None:
    numbers = (0, 1, 7, NUMBERS - 1)

    assert [pictures.number_in(pictures.stamped(number)) for number in numbers] == list(numbers)


def test_the_three_runs_have_ages_drops_and_a_bound(pictures: Pictures, scene: SyntheticSource) -> None:
    frames = 200  # the overload is over in a tenth of a second, and a busy machine needs some of it to send any
    found = measure(pictures, FakeEngine(*SIZE), Disc(scene), frames=frames, fps=240.0, background="green")

    runs = found["runs"]
    assert list(runs) == ["back to back", "240 fps", "overload x3"]
    for run, given in zip(runs.values(), (frames, frames, 3 * frames), strict=True):
        assert run["received"] == given == run["sent"] + sum(run["dropped"].values())
        assert 0 < run["age_ms"]["p50"] <= run["age_ms"]["p99"] <= run["age_ms"]["max"]
    assert runs["back to back"]["dropped"] == {}
    assert all(run["bound_ms"] > 0 for name, run in runs.items() if name != "back to back")


def test_a_short_soak_leaves_threads_and_descriptors_as_they_are(pictures: Pictures, scene: SyntheticSource) -> None:
    found = soak(pictures, FakeEngine(*SIZE), Disc(scene), frames=150, fast=True, background="green")

    assert found["frames"] == 150 == found["sent"] + sum(found["dropped"].values())
    assert len(found["threads"]) == len(found["descriptors"]) == 1
    assert (found["memory_mb"][1] - found["memory_mb"][0]) * 1e6 <= SOAK_BYTES
    assert found["faults"] == 0
