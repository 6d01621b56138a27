"""A Session turns one stream's frames into mattes: it follows every target, each in a row of its own, and joins their
alphas.

It knows no thread, socket or file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from rtmatte.clock import Clock
from rtmatte.errors import ContractError
from rtmatte.follower import Calls, Follower, SessionOptions, Status, together
from rtmatte.frame import Alpha, Frame, Mask, Matte, OnDevice
from rtmatte.rows import RECENT, Batch
from rtmatte.step import Engine, Lender
from rtmatte.targets import Target

__all__ = ["RECENT", "Session", "SessionOptions", "Status"]


class Session:
    """One stream's way through a network.

    The engine may be shared, the session belongs to one thread; only `reseed` and `status` may be used from another.
    Without a target it waits for `reseed`. `clock` is the one its frames are stamped by.

    Several targets are several rows: of one call, when the model was exported with a batch of as many; otherwise a
    model with a batch of 1 is called for each in turn. They know nothing of each other, and what goes wrong with one
    hides that one. Rows of one call go in step, so one that is seeded while another tracks gets one pass a frame.
    Raises ContractError for a model with another batch.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target | Sequence[Target] | None,
        clock: Clock,
        options: SessionOptions = SessionOptions(),
    ) -> None:
        self.clock = clock
        targets = target if isinstance(target, Sequence) else (target,)
        contract, count = engine.contract, len(targets)
        if contract.batch not in (1, count) or not count:
            raise ContractError(
                f"expected one row a target, {count} in all, this model has {contract.batch}; "
                f"export it again: python -m export CHECKPOINT --batch {count or 1}"
            )
        self._batches = [Batch(engine, options.write_every) for _ in range(count // contract.batch)]
        rows = [row for batch in self._batches for row in batch.rows]
        self._followers = [Follower(row, who, contract, options) for row, who in zip(rows, targets, strict=True)]
        # With more rows or calls, what lies on the device is not the frame's one alpha.
        self._lender = engine if options.lend and count == 1 and isinstance(engine, Lender) else None
        self._working = contract.size
        self._passes = options.passes_per_frame or sys.maxsize
        self._union = np.empty((0, 0), np.float32)

    def reset(self) -> None:
        """Forgets the stream and its counts: the next frame is the first of another one."""
        for follower in self._followers:
            follower.reset()

    def reseed(self, mask: Mask | None, *, of: int = 0) -> None:
        """Makes the next frame the first one of target number `of`, cut out by `mask`, or by what the target proposes
        when it is None.

        The mask is of that frame; of another size it is scaled, with a warning. An empty mask is a legal one: nobody.
        """
        self._followers[of].reseed(mask)

    def remember_every(self, frames: int | None) -> None:
        """Has every `frames`-th frame stored from now on; None: as often as the model was made for."""
        for batch in self._batches:
            batch.write_every = frames

    @property
    def status(self) -> Status:
        """The session's counts as they are now."""
        return together(self.statuses)

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The counts of each target as they are now."""
        return tuple(follower.status for follower in self._followers)

    def process(self, frame: Frame) -> Matte:
        """Returns the frame's own matte, its alpha None where there is none to trust.

        The alpha shows everybody: it is the greatest of the alphas of the targets, which the matte holds too. They are
        the session's memory and good until the next call. A network that fails or answers nonsense is a fault: it is
        counted and the target is hidden. After a failure, or nonsense three times in a row, the network
        is seeded again: from the last alpha that showed somebody while that is a few frames old, else by the target.
        Frames may change their size: when the picture keeps its shape all goes on, otherwise the network is seeded
        again from the last alpha, stretched like the picture. A blank frame has no alpha, and everybody is lost with
        it: whoever the next frame shows is to be found anew.
        """
        if frame.blank:
            for follower in self._followers:
                follower.interrupt()
            return Matte(frame, None, self.status.phase)
        calls = [follower.follow(frame) for follower in self._followers]
        alphas: list[Alpha | None] = []
        for batch in self._batches:
            begin = len(alphas)
            alphas += _stepped(batch, calls[begin : begin + len(batch.rows)], self._passes)
        alpha = self._joined(alphas)
        return Matte(frame, alpha, self.status.phase, tuple(alphas), None if alpha is None else self._lent(frame))

    def _lent(self, frame: Frame) -> OnDevice | None:
        """Returns what the network has of a frame it was given whole: one of another size lies there in another shape.

        The last call of the network was for this frame, or it would have no alpha.
        """
        if self._lender is None or frame.size != self._working or frame.pixels.dtype != np.uint8:
            return None
        return self._lender.lent()

    def _joined(self, alphas: list[Alpha | None]) -> Alpha | None:
        """Returns the greatest of the alphas that there are: the only one itself, else memory of the session."""
        shown = [alpha for alpha in alphas if alpha is not None]
        if len(shown) < 2:
            return shown[0] if shown else None
        if self._union.shape != shown[0].shape:
            self._union = np.empty_like(shown[0])
        np.maximum(shown[0], shown[1], out=self._union)
        for alpha in shown[2:]:
            np.maximum(self._union, alpha, out=self._union)
        return self._union


def _stepped(batch: Batch, rows: Sequence[Calls], passes: int) -> list[Alpha | None]:
    """Returns the alphas of the rows of `batch` after at most `passes` calls.

    A call steps every row, so that there is another one on the same frame only while each row that has laid one out
    wants it: nobody's state is moved twice by one frame.
    """
    alphas: list[Alpha | None] = [None] * len(rows)
    going, made, more = dict(enumerate(rows)), 0, None
    while going:
        wishes = []
        for number, calls in list(going.items()):
            try:
                wishes.append(calls.send(more))
            except StopIteration as end:
                alphas[number] = end.value
                del going[number]
        if wishes:
            batch.step()
            made += 1
            more = all(wishes) and made < passes
    return alphas
