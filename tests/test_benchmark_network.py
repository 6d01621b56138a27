"""A model behind a session, driven as a baseline is: the fake engine follows a bright disc."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.network import Network, Opened
from benchmarks.quality.evaluate import evaluate
from benchmarks.recovery import INTERRUPTIONS, Interruption, recover
from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.imaging import Size

Picture = NDArray[np.uint8]


def disc(number: int, size: Size) -> NDArray[np.bool_]:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    inside: NDArray[np.bool_] = (x - size[0] // 3 - 2 * number) ** 2 + (y - size[1] // 2) ** 2 < (size[1] // 5) ** 2
    return inside


def disc_clip(size: Size = (64, 48)) -> Clip:
    def frame(number: int) -> Picture:
        return np.where(disc(number, size)[..., None], np.uint8(220), np.uint8(30)).repeat(3, axis=2)

    return Clip("disc", 6, frame, lambda number: disc(number, size).astype(np.uint8) * 255)


def fake_for(size: Size) -> Opened:
    return Opened(FakeEngine(*size), "5ha")


def test_a_network_follows_and_is_scored_like_a_baseline() -> None:
    network = Network("fake", fake_for)

    result = evaluate(network, disc_clip())

    assert result.method == "fake"
    assert result.per_frame["mad"] == [0] * 6


def test_a_network_is_seeded_once_per_clip_and_warmed_up_like_a_file() -> None:
    engine = FakeEngine(64, 48)

    evaluate(Network("fake", lambda size: Opened(engine, "")), disc_clip(), rounds=1)

    kinds = [call[0].split()[0] for call in engine.calls]
    assert kinds.count("seed") == 1
    assert kinds[:3] == ["seed", "settle", "settle"]
    assert len(kinds) == 3 + 5


def test_engines_are_opened_once_per_frame_size_and_all_reported() -> None:
    opened: list[Size] = []

    def open_for(size: Size) -> Opened:
        opened.append(size)
        return fake_for(size)

    network = Network("fake", open_for)
    for size in ((64, 48), (48, 64), (64, 48)):
        evaluate(network, disc_clip(size), rounds=1)

    assert opened == [(64, 48), (48, 64)]
    assert [facts["size"] for facts in network.facts()] == [[64, 48], [48, 64]]
    assert network.facts()[0] == {"model": "fake", "size": [64, 48], "sha256": "5ha", "backend": "fake"}


def test_an_alpha_of_another_working_size_is_scored_at_the_size_of_the_frame() -> None:
    network = Network("fake", lambda size: Opened(FakeEngine(32, 24), ""))

    result = evaluate(network, disc_clip((64, 48)), rounds=1)

    assert 0 < result.per_frame["mad"][1] < 60
    assert result.per_frame["core"][1] < 10


def test_a_frame_the_session_hides_counts_as_nobody_shown() -> None:
    clip = disc_clip()
    network = Network("fake", lambda size: Opened(FakeEngine(*size, faults=Faults(nan_at=[4])), ""))

    mad = evaluate(network, clip, rounds=1).per_frame["mad"]

    assert mad[2] == pytest.approx(1000 * clip.truth(2).mean() / 255)
    assert mad[1] == 0


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda i: i.name)
def test_an_engine_that_remembers_brightness_finds_its_disc_again(interruption: Interruption) -> None:
    network = Network("fake", fake_for)

    recovery = recover(network, disc_clip(), interruption)

    assert set(recovery.after) == {0}
    assert recovery.recovered
