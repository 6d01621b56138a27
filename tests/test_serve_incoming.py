"""Pictures on their way in: sizes, the newest, the end; and the hooks into aiortc."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer

from rtmatte.clock import ManualClock, MonotonicClock
from rtmatte.serve.assembly import Assembler
from rtmatte.serve.incoming import OUTGROWN, IncomingVideo
from rtmatte.serve.outgoing import Fanout
from rtmatte.serve.reception import AudioReception, Unwrapped, VideoReception
from rtmatte.sources import SourceState
from tests.serving import SIZE


@pytest.mark.parametrize("size", [(161, 121), (160, 120), (16, 16), (33, 18)])
def test_odd_sizes_are_cut_to_even_ones(size: tuple[int, int]) -> None:
    source = IncomingVideo(ManualClock())
    picture = av.VideoFrame(*size, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    source.deposit(picture, 0.0)

    frame = next(iter(source))

    assert frame.size == source.size == (size[0] & ~1, size[1] & ~1)
    assert np.abs(frame.pixels.astype(int) - 130).max() <= 2  # (128 - 16) * 255 / 219


def test_the_newest_picture_wins_and_the_rest_is_counted() -> None:
    source = IncomingVideo(ManualClock())
    for number in range(5):
        source.deposit(av.VideoFrame(*SIZE, "yuv420p"), float(number))

    assert next(iter(source)).captured_at == 4.0
    assert source.dropped == 4


@pytest.mark.parametrize(
    ("size", "becomes"), [((320, 240), (320, 240)), ((120, 160), (120, 160)), ((80, 60), None), ((160, 120), None)]
)
def test_pictures_that_stay_larger_or_turned_end_the_iteration(
    size: tuple[int, int], becomes: tuple[int, int] | None
) -> None:
    source = IncomingVideo(ManualClock())
    source.deposit(av.VideoFrame(*SIZE, "yuv420p"), 0.0)
    frames = iter(source)
    next(frames)

    for number in range(OUTGROWN):
        source.deposit(av.VideoFrame(*size, "yuv420p"), float(number))
        assert next(frames).size == size
    if becomes is None:
        source.close()

    assert next(frames, None) is None
    assert source.size == (becomes or SIZE)


def test_without_pictures_blank_ones_come_and_the_end_ends_it() -> None:
    source = IncomingVideo(MonotonicClock())
    source.deposit(av.VideoFrame(*SIZE, "yuv420p"), 0.0)
    frames = iter(source)
    assert not next(frames).blank

    assert next(frames).blank  # after its own patience
    assert source.state is SourceState.STALLED
    assert "see to its camera" in source.message
    closing = threading.Timer(0.05, source.close)
    closing.start()
    assert len(list(frames)) <= 2


def test_the_way_into_aiortc_is_where_it_was() -> None:
    """The private names that `reception` and `outgoing` reach for; a newer aiortc that renames them fails here."""

    async def scenario() -> None:
        connection = RTCPeerConnection()
        video, audio = connection.addTransceiver("video"), connection.addTransceiver("audio")
        from aiortc.rtcrtpreceiver import RemoteStreamTrack

        video.receiver._track = RemoteStreamTrack("video")
        assert isinstance(private(video.receiver, "jitter_buffer"), JitterBuffer)

        reception = VideoReception(video.receiver, lambda picture, arrived: None, ManualClock())
        sound = AudioReception(audio.receiver, lambda data, at: None, ManualClock())

        assert isinstance(private(video.receiver, "jitter_buffer"), Assembler)
        assert private(audio.receiver, "jitter_buffer") is sound
        assert vars(video.receiver.track)["_queue"] is reception
        fanout = Fanout(ManualClock(), asyncio.get_running_loop())
        viewer = fanout.add("VP8")
        fanout.connect(viewer, video.sender)
        encoder = vars(video.sender)["_RTCRtpSender__encoder"]
        encoder.target_bitrate = 10
        assert viewer.bit_rate == 300_000
        assert video.sender._send_keyframe == viewer.ask_key
        fanout.close()
        await connection.close()

    asyncio.run(scenario())


def test_a_decoder_that_lies_behind_starts_again_at_a_key_frame() -> None:
    async def scenario() -> None:
        connection = RTCPeerConnection()
        video = connection.addTransceiver("video")
        from aiortc.rtcrtpreceiver import RemoteStreamTrack

        video.receiver._track = RemoteStreamTrack("video")
        reception = VideoReception(video.receiver, lambda picture, arrived: None, ManualClock())
        private(video.receiver, "codecs")[96] = None

        for number in range(9):
            reception._decode(96, b"x", number * 3000)

        assert reception.overrun == 8
        assert private(video.receiver, "decoder_queue").qsize() == 0
        assert private(video.receiver, "decoder_error").is_set()  # asks the sender
        await connection.close()

    asyncio.run(scenario())


def test_times_go_on_where_their_numbers_wrap() -> None:
    times = Unwrapped()

    assert [times.of(value) for value in (2**32 - 3000, 0, 3000, 2**32 - 1000)] == [0, 3000, 6000, 2000]


def private(receiver: RTCRtpReceiver, name: str) -> Any:
    return getattr(receiver, f"_RTCRtpReceiver__{name}")
