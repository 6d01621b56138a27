"""Questions over clips, put to one model by several processes of one thread each: faster than one of several threads.

Measured on two cores: lite's step at 512x288 takes 21 ms on one thread and 13 on two.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2

from benchmarks.baselines import Method
from benchmarks.clips import Clip, find_clips
from benchmarks.identity.questions import QUESTIONS, Answer
from benchmarks.ledger import Ledger
from benchmarks.network import identity_of, open_network


class Job(NamedTuple):
    """One question about one clip, both by name."""

    question: str
    clip: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked over which clips, as another process can be told."""

    model: str
    data: tuple[Path, ...]
    only: str = "*"

    def clips(self) -> dict[str, Clip]:
        """Returns the clips by name; InputError when there are none."""
        return {clip.name: clip for folder in self.data for clip in find_clips(folder, self.only)}


_here: tuple[Method, dict[str, Clip]]  # of a process of the pool


def answer_all(
    asked: Asked, jobs: Sequence[Job], *, processes: int, ledger: Ledger | None = None
) -> Iterator[tuple[Job, Answer]]:
    """Yields every job with its answer, first those that the ledger knows; others are written down at once."""
    clips, model = asked.clips(), identity_of(asked.model)

    def line(job: Job) -> dict[str, object]:
        return {"model": model, "question": job.question, **clips[job.clip].fingerprint()}

    unknown = []
    for job in jobs:
        known = ledger.find(line(job)) if ledger else None
        if known is None:
            unknown.append(job)
        else:
            yield job, known
    for job, found in _answered(asked, clips, unknown, processes):
        if ledger:
            ledger.add(line(job), found)
        yield job, found


def _answered(
    asked: Asked, clips: dict[str, Clip], jobs: Sequence[Job], processes: int
) -> Iterable[tuple[Job, Answer]]:
    if processes == 1 or len(jobs) < 2:
        network = open_network(asked.model)
        return ((job, QUESTIONS[job.question](network, clips[job.clip])) for job in jobs)
    return _in_a_pool(asked, jobs, processes)


def _in_a_pool(asked: Asked, jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Answer]]:
    # Started anew, not forked: PyTorch and ONNX Runtime hold threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(asked,)) as pool:
        yield from zip(jobs, pool.map(_answer, jobs), strict=True)


def _begin(asked: Asked) -> None:
    global _here
    cv2.setNumThreads(1)
    _here = open_network(asked.model, threads=1), asked.clips()


def _answer(job: Job) -> Answer:
    network, clips = _here
    return QUESTIONS[job.question](network, clips[job.clip])
