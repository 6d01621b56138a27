"""Made sets of people kept aside, on pictures made here."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.clips import find_clips
from rtmatte.errors import SourceError
from training.data.assets import LOOKS, SPRITE, Assets
from training.data.clips import ClipMaker
from training.data.held_out import SETS, HeldOut, made_clips, write_set

SMALL = HeldOut(("single", "second person"), clips=3, frames=2, size=(32, 48), seed=3)


def pictures(*, people: bool = True) -> Assets:
    """Two people who are bright ovals, or nobody at all, in two rooms."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SPRITE), torch.linspace(-1, 1, SPRITE), indexing="ij")
    inside = ((x / 0.5) ** 2 + ((y - 0.6) / 0.5) ** 2 < 1) & torch.tensor(people)
    person = torch.cat([torch.full((3, SPRITE, SPRITE), 0.8), inside[None].float()])
    sprites = person.mul(255).to(torch.uint8).expand(2 * LOOKS, -1, -1, -1)
    none = torch.zeros(0, 4, SPRITE, SPRITE, dtype=torch.uint8)
    rooms = torch.full((2, 3, 72, 128), 60, dtype=torch.uint8)
    videos, spans = torch.zeros(3, 3, 36, 64, dtype=torch.uint8), torch.zeros(0, 2, dtype=torch.int64)
    top = torch.full((2 * LOOKS,), 0.1)
    return Assets(sprites, top, none, spans, torch.zeros(0), none, rooms, rooms, videos, torch.tensor([[0, 3]]))


def maker(**kind: bool) -> ClipMaker:
    return ClipMaker(pictures(**kind), SMALL.seed)


def test_a_set_is_read_by_the_benchmarks_as_it_was_written(tmp_path: Path) -> None:
    clips = list(made_clips(maker(), SMALL))

    write_set(iter(clips), SMALL.clips, tmp_path / "made")
    found = find_clips(tmp_path / "made")

    assert [clip.name for clip in found] == ["made-000 single", "made-001 second person", "made-002 single"]
    for clip, made in zip(found, clips, strict=True):
        assert np.array_equal(clip.frame(1), made["frames"][1])
        assert np.array_equal(clip.truth(0), made["alpha"][0])
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_an_archive_holds_the_same_clips_and_equal_seeds_make_equal_sets(tmp_path: Path) -> None:
    write_set(made_clips(maker(), SMALL), SMALL.clips, tmp_path / "made")
    write_set(made_clips(maker(), SMALL), SMALL.clips, tmp_path / "made.npz")

    for one, other in zip(find_clips(tmp_path / "made"), find_clips(tmp_path / "made.npz"), strict=True):
        assert one.name == other.name
        assert np.array_equal(one.frame(0), other.frame(0))
        assert np.array_equal(one.truth(1), other.truth(1))


def test_a_set_that_was_cut_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_set(islice(made_clips(maker(), SMALL), 2), SMALL.clips, tmp_path / "made")

    assert not (tmp_path / "made").exists()


def test_everybody_is_seen_in_every_frame_and_central_where_that_is_wanted() -> None:
    for clip in made_clips(maker(), replace(SMALL, central=True)):
        assert bool(((clip["alpha"] > 127).mean((1, 2)) >= 0.01).all())
        assert bool(clip["central"])


def test_pictures_of_nobody_are_told() -> None:
    with pytest.raises(SourceError, match="found none in 100"):
        next(iter(made_clips(maker(people=False), SMALL)))


def test_sets_have_the_sizes_that_are_judged() -> None:
    assert {name: wanted.clips for name, wanted in SETS.items() if name != "mixed"} == {
        "returns": 200,
        "twins": 200,
        "person": 200,
    }
    assert {wanted.size for wanted in SETS.values()} == {(288, 512)}
    assert len({wanted.seed for wanted in SETS.values()}) == len(SETS)
