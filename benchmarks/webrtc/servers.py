"""The two servers that are measured, each in a process of its own: a plain aiortc echo, and ours without a network."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, Protocol

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import vpx

from rtmatte.clock import MonotonicClock
from rtmatte.control import Control
from rtmatte.frame import Mask
from rtmatte.imaging import Size
from rtmatte.outputs import Outputs
from rtmatte.pipeline import Counts, Progress
from rtmatte.serve.incoming import IncomingVideo
from rtmatte.serve.loopback import keep_loopback
from rtmatte.serve.options import Limits, ServeOptions
from rtmatte.serve.studio import Studio

PLAIN, OURS = "plain aiortc", "rtmatte"


class Pipe(Protocol):
    """One end of a pipe between two processes."""

    def send(self, thing: Any, /) -> None: ...
    def recv(self) -> Any: ...


@contextmanager
def served(name: str, burners: int) -> Iterator[Pipe]:
    """A server in a process of its own, and the pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    core = (os.cpu_count() or 1) - 1 if burners else None
    processes = [context.Process(target=serve, args=(name, theirs, core), daemon=True)]
    processes += [context.Process(target=burn, args=(core,), daemon=True) for _ in range(burners)]
    for process in processes:
        process.start()
    try:
        yield ours
    finally:
        for process in processes:
            process.terminate()
            process.join()


def stay_on(core: int) -> None:
    """Binds this process to a core, where the system allows it: an overload is then the same on any machine."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {core})


def burn(core: int) -> None:
    """Takes what it can get of a core."""
    stay_on(core)
    while True:
        sum(range(10_000))


def serve(name: str, pipe: Pipe, core: int | None) -> None:
    """The server's process."""
    if core is not None:
        stay_on(core)
    keep_loopback()
    asyncio.run(_echo(pipe) if name == PLAIN else _pass_through(pipe))


async def _echo(pipe: Pipe) -> None:
    spent = [0, 0.0]
    plain = vpx.Vp8Encoder.encode

    def encode(self: Any, frame: Any, force_keyframe: bool = False) -> Any:
        began = time.thread_time()
        out = plain(self, frame, force_keyframe)
        spent[0] += 1
        spent[1] += time.thread_time() - began
        return out

    vpx.Vp8Encoder.encode = encode  # type: ignore[method-assign]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    @connection.on("track")
    def back(track: MediaStreamTrack) -> None:
        connection.addTrack(track)

    offer = RTCSessionDescription(await asyncio.to_thread(pipe.recv), "offer")
    await connection.setRemoteDescription(offer)
    await connection.setLocalDescription(await connection.createAnswer())
    pipe.send(connection.localDescription.sdp)
    await _account(pipe, lambda: (int(spent[0]), spent[1]))


class Straight:
    """A line that changes nothing."""

    status: Any = None

    def __init__(self, size: Size) -> None:
        self.size = size

    def run(
        self, source: IncomingVideo, sink: Outputs, *, stop: Event | None = None, progress: Progress | None = None
    ) -> Counts:
        for frame in source:
            sink.write(frame)
        return Counts()

    def picture(self, view: Any = "composite") -> None:
        """There is none."""

    def followed(self, size: Size) -> None:
        """There is nobody."""


class Roomy:
    publishers, backend = 1, "none"


async def _pass_through(pipe: Pipe) -> None:
    def open_line(size: Size, control: Control, first: Mask | None) -> Straight:
        return Straight(size)

    options = ServeOptions(limits=Limits(publishers=1), loopback_peers=True)
    studio = Studio(open_line, Roomy(), options, MonotonicClock())
    answered = await studio.publish(await asyncio.to_thread(pipe.recv), sender="page")
    pipe.send(answered.answer)
    totals = studio.broadcast(answered.id).fanout
    await _account(pipe, lambda: (totals.totals.calls, totals.totals.cpu))


async def _account(pipe: Pipe, spent: Callable[[], tuple[int, float]]) -> None:
    """Tells frames encoded, the processor time of that, and of the whole process, between "begin" and "end"."""
    await asyncio.to_thread(pipe.recv)
    (calls, cpu), process = spent(), time.process_time()
    await asyncio.to_thread(pipe.recv)
    after = spent()
    pipe.send((after[0] - calls, after[1] - cpu, time.process_time() - process))
