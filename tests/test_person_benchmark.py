"""The person benchmark: a target that is found scores near 1, one that is not scores 0."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.person import overlap
from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.sources.synthetic import SyntheticSource

SIZE = (192, 108)


def scene(length: int) -> Clip:
    source = SyntheticSource(ManualClock(), size=SIZE, frames=length)

    def truth(number: int) -> NDArray[np.uint8]:
        return np.rint(source.alpha_of(number) * 255).astype(np.uint8)

    return Clip("scene", length, source.pixels_of, truth)


@pytest.mark.parametrize("length", [12, 4])
def test_a_person_that_is_found_overlaps_the_truth(length: int) -> None:
    assert overlap(FakeEngine(*SIZE), scene(length)) > 0.95


def test_a_room_without_anybody_in_the_truth_but_somebody_found_scores_nothing() -> None:
    clip = scene(12)
    nobody = Clip("nobody", clip.length, clip.frame, lambda number: np.zeros(SIZE[::-1], np.uint8))
    assert overlap(FakeEngine(*SIZE), nobody) == 0
