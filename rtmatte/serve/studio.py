"""All that is on air: who may publish, what they are watched by, and the end of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rtmatte.clock import Clock
from rtmatte.control import Control
from rtmatte.serve.broadcast import Broadcast, OpenLine, State
from rtmatte.serve.offer import Offer, with_start_bit_rate
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.peer import Peer
from rtmatte.serve.refusal import bad_request, full, not_found
from rtmatte.settings import Settings

TIDY_EVERY = 0.5  # seconds
REMEMBERED = 1024  # ended ids, for which ending them again is no error


class Budget(Protocol):
    """What the networks allow."""

    @property
    def publishers(self) -> int: ...

    @property
    def backend(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """The ids and the SDP answer for a publisher (`id` controls, `watch` shows) or a viewer (`id` is its own).

    `viewing_key` lets viewers of a publisher in.
    """

    id: str
    watch: str
    answer: str = field(repr=False)
    viewing_key: str | None = field(default=None, repr=False)


class Studio:
    """The broadcasts of a server. Made and used on the loop; `model` is what the page calls the network."""

    def __init__(
        self,
        open_line: OpenLine,
        budget: Budget,
        options: ServeOptions,
        clock: Clock,
        *,
        model: str = "lite",
        settings: Callable[[], Settings] = Settings,
    ) -> None:
        self.model = model
        self._open_line, self._budget, self._options, self._clock = open_line, budget, options, clock
        self._settings = settings
        self._broadcasts: dict[str, Broadcast] = {}
        self._peers: set[Peer] = set()
        self._ended: deque[str] = deque(maxlen=REMEMBERED)
        self._closing: set[asyncio.Task[None]] = set()
        self._uploads = Path(tempfile.mkdtemp(prefix="rtmatte-"))
        self._arriving = 0
        self.refused = 0  # for want of room
        self._tidying = asyncio.create_task(self._tidy())

    @property
    def backend(self) -> str:
        return self._budget.backend

    @property
    def capacity(self) -> int:
        """How many publishers are admitted at a time."""
        fixed = self._options.limits.publishers
        return self._budget.publishers if fixed is None else fixed

    @property
    def publishers(self) -> int:
        """How many are here now."""
        return sum(each.state is not State.AWAY for each in self._broadcasts.values())

    @property
    def broadcasts(self) -> tuple[Broadcast, ...]:
        return tuple(self._broadcasts.values())

    @property
    def peers(self) -> int:
        """How many connections are open."""
        return len(self._peers)

    def broadcast(self, id: str) -> Broadcast:
        """Returns the broadcast that `id` controls; a Refusal when there is none, or no more."""
        if (found := self._broadcasts.get(id)) is None:
            raise not_found("there is no such session, or it is over; publish again")
        return found

    def watched(self, watch: str | None) -> Broadcast:
        """Returns what is watched by that id, or the only broadcast there is; a Refusal when there is none."""
        if watch is None and len(self._broadcasts) == 1:
            return next(iter(self._broadcasts.values()))
        found = [each for each in self._broadcasts.values() if each.watch == watch]
        if not found:
            say = "several streams are on air" if watch is None and self._broadcasts else "no such stream is on air"
            raise not_found(f"{say}; watch one by the address its publisher was given")
        return found[0]

    def admits(self, watch: str, viewing_key: str) -> bool:
        """Whether that key lets somebody in who wants to watch `watch`."""
        return any(each.watch == watch and each.admits(viewing_key) for each in self._broadcasts.values())

    async def publish(self, sdp: str, *, sender: str, resume: str | None = None) -> Answered:
        """Returns the answer for a publisher, which goes on with the broadcast `resume` where that is still kept.

        A Refusal for an offer that cannot be met, and when there is no room.
        """
        offer = Offer.parse(sdp)
        if not offer.sends_video:
            raise bad_request("expected an offer that sends pictures, found one that only takes them; watch by WHEP")
        kept = self._broadcasts.get(resume or "")
        self._admit(kept)
        self._arriving += 1
        try:
            peer = self._new_peer()
            await peer.take(offer)
            broadcast = self._broadcasts.get(kept.id if kept else "") or self._new_broadcast(sender)
            broadcast.publish(peer, offer)
        finally:
            self._arriving -= 1
        answer = await peer.answer()
        return Answered(broadcast.id, broadcast.watch, with_start_bit_rate(answer), broadcast.viewing_key)

    async def watch(self, sdp: str, *, watch: str | None = None) -> Answered:
        """Returns the answer for a viewer of the broadcast with that id for watching, or of the only one."""
        broadcast, offer = self.watched(watch), Offer.parse(sdp)
        if not offer.takes_video:
            raise bad_request("expected an offer that takes pictures, found one that only sends them; publish by WHIP")
        if broadcast.viewers + broadcast.expected >= self._options.limits.viewers:
            self.refused += 1
            raise full("expected room for another viewer, found none; try again later", retry_after=5)
        peer = self._new_peer()
        await broadcast.show(peer, offer)
        return Answered(peer.id, broadcast.watch, await peer.answer())

    async def end(self, id: str) -> None:
        """Ends a broadcast; one that has ended already is no error, one that never was is a Refusal."""
        if id in self._ended:
            return
        await self._end(self.broadcast(id))

    async def leave(self, watch: str, id: str) -> None:
        """Ends a viewer's connection; one that has ended already is no error, one that never was is a Refusal."""
        if id not in self._ended:
            await self.viewer(watch, id).close("left")

    def viewer(self, watch: str, id: str) -> Peer:
        """Returns the viewer `id` of a broadcast; a Refusal when there is none."""
        if (peer := self.watched(watch).viewer(id)) is None:
            raise not_found("there is no such viewer, or it has left")
        return peer

    async def close(self) -> None:
        """Ends everything, within two seconds."""
        self._tidying.cancel()
        await asyncio.gather(*(self._end(each) for each in self.broadcasts), *self._closing)
        await asyncio.gather(*(peer.close("the server ends") for peer in tuple(self._peers)))
        shutil.rmtree(self._uploads, ignore_errors=True)

    def _admit(self, kept: Broadcast | None) -> None:
        returns = kept is not None and kept.state is not State.AWAY
        if not returns and self.publishers + self._arriving >= self.capacity:
            self.refused += 1
            raise full(
                f"expected room for another publisher, found {self.publishers} of {self.capacity}; try again later",
                retry_after=5,
            )

    def _new_peer(self) -> Peer:
        peer = Peer(self._options, self._clock, self._forget)
        self._peers.add(peer)
        return peer

    def _forget(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._ended.append(peer.id)
        for broadcast in self.broadcasts:
            broadcast.leave(peer)

    def _new_broadcast(self, sender: str) -> Broadcast:
        away = [each for each in self.broadcasts if each.state is State.AWAY]
        for oldest in away[: max(0, len(away) + 1 - self.capacity)]:  # no more are kept than could come back
            self._begin_end(oldest)
        broadcast = Broadcast(
            self._open_line,
            Control(self._settings()),
            self._clock,
            uploads=self._uploads,
            recordings=self._options.recordings,
            bit_rate=self._options.bit_rate,
            sender=sender,
            on_end=self._begin_end,
        )
        self._broadcasts[broadcast.id] = broadcast
        return broadcast

    def _begin_end(self, broadcast: Broadcast) -> None:
        task = asyncio.create_task(self._end(broadcast))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, broadcast: Broadcast) -> None:
        if self._broadcasts.pop(broadcast.id, None) is not None:
            self._ended.append(broadcast.id)
            await broadcast.close()

    async def _tidy(self) -> None:
        """Ends broadcasts whose publisher has been away for too long, or never sent a picture."""
        while True:
            await asyncio.sleep(TIDY_EVERY)
            for each in self.broadcasts:
                if each.away_since is None:
                    continue
                away = self._clock.now() - each.away_since
                if away > self._options.limits.resume_wait or not each.received:
                    self._begin_end(each)
