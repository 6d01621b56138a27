"""The identity benchmark, on methods whose answers are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.clips import Clip
from benchmarks.identity.__main__ import jobs_of, summary
from benchmarks.identity.bank import export_variant, shares
from benchmarks.identity.jobs import Asked, Job, answer_all
from benchmarks.identity.questions import (
    GOINGS,
    GONE,
    QUESTIONS,
    WITHIN,
    Answer,
    core_by_mask,
    light_off,
    masks_of,
    overlap,
    returns,
    swap,
)
from benchmarks.ledger import Ledger
from benchmarks.recovery import Interruption
from rtmatte.engine import open_engine
from rtmatte.frame import Alpha, Mask
from rtmatte.network.lite import Lite
from rtmatte.network.lite_step import fold
from tests.discs import NARROW
from tests.replay import Replay, numbered_clip
from tests.toy_model import save_toy, toy_contract


def test_overlap_is_intersection_over_union() -> None:
    one, other = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    one[:2], other[1:3] = 255, 255

    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(np.zeros_like(one), np.zeros_like(one)) == 1.0


@pytest.mark.parametrize("going", GOINGS, ids=lambda going: going.name)
def test_a_method_that_finds_the_person_late_has_returned_and_one_that_never_does_has_not(going: Interruption) -> None:
    clip = numbered_clip(8)
    back_at = clip.length + GONE

    def late(n: int, alpha: Alpha) -> Alpha:
        return alpha if n < clip.length or n >= back_at + WITHIN - 1 else np.zeros_like(alpha)

    def never(n: int, alpha: Alpha) -> Alpha:
        return alpha if n < clip.length else np.zeros_like(alpha)

    assert going.frames == GONE
    assert returns(going, Replay(clip, late), clip) == {"overlap": 1.0, "frames": WITHIN}
    assert returns(going, Replay(clip, never), clip) == {"overlap": 0.0, "frames": WITHIN}


def test_nothing_is_played_once_the_person_is_found() -> None:
    clip = numbered_clip(8)
    method = Replay(clip)

    answer = returns(GOINGS[0], method, clip)

    assert answer["frames"] == 1
    assert len(method.seen) == clip.length + GONE + 1


def test_a_dark_room_is_faint_noisy_and_never_the_same_twice() -> None:
    clip = numbered_clip(8)
    bright = np.full((24, 32, 3), 250, np.uint8)

    one, other = (light_off(pixels, clip.truth(0)) for pixels in (bright, bright - np.uint8(50)))

    assert 5 < float(one.mean()) < 15
    assert float(one.std()) > 1
    assert not np.array_equal(one, other)
    assert np.array_equal(one, light_off(bright, clip.truth(0)))


def test_one_picture_of_somebody_else_is_a_swap() -> None:
    clip = numbered_clip(8)

    def slips_once(n: int, alpha: Alpha) -> Alpha:
        other: Alpha = 1 - alpha if n == 9 else alpha
        return other

    assert swap(Replay(clip), clip) == {"swapped": 0}
    assert swap(Replay(clip, slips_once), clip) == {"swapped": 1}


def test_masks_are_larger_and_rougher_than_the_accurate_one() -> None:
    disc = np.zeros((96, 128), np.float32)
    cv2.circle(disc, (64, 48), 40, 1.0, cv2.FILLED)
    masks = masks_of(replace(numbered_clip(8), mask=lambda: Mask(disc)))

    assert masks["too large"].area > masks["accurate"].area
    assert 0 < masks["rough polygon"].area < masks["too large"].area
    assert not np.array_equal(masks["rough polygon"].values, masks["accurate"].values)


def test_every_mask_is_judged_at_the_same_frame() -> None:
    clip = numbered_clip(8)

    assert core_by_mask(Replay(clip), clip) == {"accurate": 0.0, "too large": 0.0, "rough polygon": 0.0}


def named(*names: str) -> list[Clip]:
    return [replace(numbered_clip(8), name=name) for name in names]


def test_pairs_are_asked_for_swaps_and_the_others_for_returns_and_some_for_masks() -> None:
    jobs = jobs_of(named("0 single", "1 second person", "2 twins"), alike="*twins", masks=1)

    questions = [(job.question, job.clip[0]) for job in jobs]
    assert questions == [
        *(("return covered", clip) for clip in "01"),
        *(("return away", clip) for clip in "01"),
        *(("return dark", clip) for clip in "01"),
        ("swap", "2"),
        ("masks", "0"),
    ]


def test_the_right_person_is_counted_only_beside_somebody_else() -> None:
    overlaps = {"0 single": 0.2, "1 second person": 0.95, "2 second person": 0.6, "3 second person": 0.1}
    found: dict[Job, Answer] = {
        Job("return away", clip): {"overlap": value, "frames": 3.0} for clip, value in overlaps.items()
    }
    found |= {Job("swap", "4 twins"): {"swapped": 1.0}, Job("swap", "5 twins"): {"swapped": 0.0}}
    found |= {
        Job("masks", "0"): {"accurate": 2.0, "too large": 2.5},
        Job("masks", "1"): {"accurate": 0, "too large": 1},
    }

    told = summary(found, "*second person")

    away = told["returns"]["away"]
    assert (away["clips"], away["found_share"]) == (4, 0.25)
    assert (away["with_others"], away["right_share"]) == (3, 0.667)
    assert told["swaps"] == {"pairs": 2, "kept_share": 0.5, "swapped": ["4 twins"]}
    assert told["masks"]["too large"] == {"core": 1.75, "ratio_of_means": 1.75, "within_1.5_share": 0.5}
    assert told["mask_clips"] == 2


def made_set(folder: Path, clips: int = 2) -> Path:
    """A bright square that stands in a dark room; the toy network follows what is bright."""
    alpha = np.zeros((clips, 4, 8, 16), np.uint8)
    alpha[:, :, 2:7, 4:12] = 255
    folder.mkdir()
    np.save(folder / "alpha.npy", alpha)
    np.save(folder / "frames.npy", alpha[..., None].repeat(3, axis=-1))
    return folder


def asked_of_a_toy(tmp_path: Path) -> tuple[Asked, Sequence[Job]]:
    contract = replace(toy_contract(), inputs=toy_contract().inputs, warmup=0)
    asked = Asked(str(save_toy(tmp_path / "toy.onnx", contract)), (made_set(tmp_path / "made"),))
    return asked, [Job(question, clip) for clip in asked.clips() for question in QUESTIONS]


def test_several_processes_answer_what_one_does(tmp_path: Path) -> None:
    asked, jobs = asked_of_a_toy(tmp_path)

    one = dict(answer_all(asked, jobs, processes=1))
    several = dict(answer_all(asked, jobs, processes=2))

    assert list(one) == list(jobs)
    assert several == one


def test_a_run_that_was_stopped_asks_only_what_is_left_and_a_changed_clip_again(tmp_path: Path) -> None:
    asked, jobs = asked_of_a_toy(tmp_path)
    path = tmp_path / "answers.jsonl"
    stopped = list(itertools.islice(answer_all(asked, jobs, processes=1, ledger=Ledger(path)), 3))

    whole = dict(answer_all(asked, jobs, processes=1, ledger=Ledger(path)))

    assert {job: whole[job] for job, _ in stopped} == dict(stopped)
    assert len(path.read_text().splitlines()) == len(jobs)
    frames = np.load(tmp_path / "made" / "frames.npy")
    frames[0] //= 2
    np.save(tmp_path / "made" / "frames.npy", frames)
    assert len(dict(answer_all(asked, jobs, processes=1, ledger=Ledger(path)))) == len(jobs)
    assert len(path.read_text().splitlines()) == len(jobs) + len(QUESTIONS)


def test_the_error_of_returns_is_what_is_missing_of_the_overlap() -> None:
    assert shares([{"overlap": 0.95}, {"overlap": 0.65}]) == {"missed_share": 0.5, "error": 0.2}


@pytest.mark.filterwarnings("ignore")  # the exporter's
def test_a_variant_of_the_network_runs_as_a_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_variant(fold(Lite(NARROW).eval()), tmp_path / "net.onnx", width=48, height=32)

    assert open_engine(tmp_path / "net.onnx", backend="cpu").contract.size == (48, 32)
