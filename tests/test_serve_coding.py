"""Pictures in and out: the hooks into aiortc, the shared encoders, and colours there and back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer

from rtmatte.clock import ManualClock, MonotonicClock
from rtmatte.frame import Frame
from rtmatte.serve import encoder
from rtmatte.serve.assembly import Assembler, is_key_frame
from rtmatte.serve.encoder import Encoded, Picture, SharedEncoder, described, open_codec, start_bit_rate, within
from rtmatte.serve.incoming import OUTGROWN, IncomingVideo
from rtmatte.serve.offer import VIDEO_CODECS, VideoCodec
from rtmatte.serve.outgoing import KEY_EVERY, QUEUE, Fanout, PacketTrack, _yuv
from rtmatte.serve.reception import AudioReception, Unwrapped, VideoReception
from rtmatte.sources import SourceState

SIZE = 160, 120


def planes(value: int = 128) -> np.ndarray:
    return np.full((SIZE[1] * 3 // 2, SIZE[0]), value, np.uint8)


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def encoded_by(
    codec: VideoCodec, count: int, *, clock: ManualClock | None = None
) -> tuple[SharedEncoder, list[Encoded]]:
    """An encoder that was given `count` pictures, one after the other, and what came out."""
    out: list[Encoded] = []
    encoder = SharedEncoder(codec, out.append, clock or ManualClock())
    for number in range(count):
        encoder.offer(Picture(planes(16 + number), number * 3000))
        wait_for(partial(_has_called, encoder, number + 1))
    return encoder, out


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_an_encoder_begins_with_a_key_frame_and_makes_another_only_when_asked(codec: VideoCodec) -> None:
    encoder, out = encoded_by(codec, 5)
    encoder.request_key()
    encoder.offer(Picture(planes(), 99_000))
    wait_for(lambda: encoder.calls == 6)
    encoder.close()

    assert [each.is_key for each in out] == [True, False, False, False, False, True]
    assert [is_key_frame(bytes(each.packet)) for each in out] == [each.is_key for each in out]
    assert [each.packet.pts for each in out] == [0, 3000, 6000, 9000, 12000, 99_000]
    assert out[0].packet.time_base == Fraction(1, 90_000)


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_an_encoder_is_opened_anew_for_less_at_once_and_for_more_in_a_while(codec: VideoCodec) -> None:
    clock = ManualClock()
    encoder, out = encoded_by(codec, 1, clock=clock)

    def next_picture() -> bool:
        before = encoder.calls
        encoder.offer(Picture(planes(), 90_000 * before))
        wait_for(lambda: encoder.calls > before)
        return out[-1].is_key

    assert encoder.bit_rate == start_bit_rate(*SIZE)
    encoder.aim(2_000_000)
    assert not next_picture()
    clock.advance(6)
    assert next_picture()
    assert encoder.bit_rate == 2_000_000
    encoder.aim(1_900_000)
    assert not next_picture()  # too little of a change
    encoder.aim(10_000)
    assert next_picture()
    assert encoder.bit_rate == 300_000
    encoder.close()


def test_a_picture_of_another_size_opens_the_encoder_anew() -> None:
    encoder, out = encoded_by("VP8", 2)
    encoder.offer(Picture(np.full((90, 80), 128, np.uint8), 90_000))
    wait_for(lambda: encoder.calls == 3)
    encoder.close()

    assert [each.is_key for each in out] == [True, False, True]


@pytest.mark.parametrize("height", [120, 122])
def test_every_even_height_arrives_whole_and_in_its_colours(height: int) -> None:
    colour = (200, 100, 50)
    out: list[Encoded] = []
    encoder = SharedEncoder("VP8", out.append, ManualClock())
    pixels = np.empty((height, 160, 3), np.uint8)
    pixels[:] = colour
    encoder.offer(Picture(_yuv(Frame(0, pixels, 0.0)), 0))
    wait_for(lambda: out)
    encoder.close()

    (back,) = av.CodecContext.create("libvpx", "r").decode(out[0].packet)

    assert isinstance(back, av.VideoFrame)
    assert (back.width, back.height) == (160, height)
    assert np.abs(back.to_ndarray(format="rgb24").astype(int) - colour).max() <= 6


def test_an_encoder_that_does_not_open_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def fail_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise av.error.ArgumentError(22, "no session left")
        return open_codec(*arguments)

    monkeypatch.setattr("rtmatte.serve.encoder.open_codec", fail_once)

    encoder, out = encoded_by("VP8", 2)
    encoder.close()

    assert [each.is_key for each in out] == [True]


class Gpu:
    """Stands in for the driver: its encoder opens `sessions` times, or fails with a reason."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, sessions: int) -> None:
        self.asked: list[str] = []
        self.left = sessions
        self._opened = encoder._opened
        monkeypatch.setattr(encoder, "_opened", self.open)
        encoder.nvenc_fault.cache_clear()

    def open(self, name: str, width: int, height: int, bit_rate: int, options: dict[str, str]) -> Any:
        self.asked.append(name)
        if name != "h264_nvenc":
            return self._opened(name, width, height, bit_rate, options)
        if self.left == 0:
            raise av.error.PermissionError(1, "no session")
        self.left -= 1
        return SimpleNamespace(name=name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Gpu]]:
    yield lambda sessions: Gpu(monkeypatch, sessions=sessions)
    encoder.nvenc_fault.cache_clear()


def test_the_gpu_encodes_where_trying_it_shows_that_it_can(gpu: Callable[[int], Gpu]) -> None:
    driver = gpu(3)

    opened = [open_codec("H264", 640, 360, 1_000_000) for _ in range(2)]

    assert driver.asked == ["h264_nvenc"] * 3  # tried once, then opened
    assert [described(each) for each in opened] == ["NVENC"] * 2
    assert open_codec("VP8", 640, 360, 1_000_000).name == "libvpx"


def test_without_a_gpu_the_processor_encodes_and_the_status_says_why(gpu: Callable[[int], Gpu]) -> None:
    driver = gpu(0)

    opened = [open_codec("H264", 640, 360, 1_000_000) for _ in range(2)]

    assert driver.asked == ["h264_nvenc", "libx264", "libx264"]  # tried once
    assert [described(each) for each in opened] == ["x264 (no NVENC here: no session)"] * 2


def test_where_no_session_of_the_gpu_is_left_the_processor_encodes(gpu: Callable[[int], Gpu]) -> None:
    gpu(2)

    opened = [open_codec("H264", 640, 360, 1_000_000) for _ in range(2)]

    assert [described(each) for each in opened] == ["NVENC", "x264 (no NVENC here: no session of it is left)"]


def test_bit_rates_are_kept_to_what_is_promised() -> None:
    assert (within(1), within(10**9)) == (300_000, 20_000_000)


def frame(seq: int, colour: tuple[int, int, int] = (200, 100, 50)) -> Frame:
    pixels = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[:] = colour
    return Frame(seq, pixels, seq / 30)


def test_five_viewers_of_one_codec_cost_one_encoding_a_frame_and_a_sixth_of_another_one_more() -> None:
    async def scenario() -> None:
        fanout = Fanout(ManualClock(), asyncio.get_running_loop())
        fanout.write(frame(0))
        assert fanout.totals.calls == 0  # nobody watches: nothing is done
        five = [fanout.add("VP8") for _ in range(5)]

        for seq in range(1, 21):
            await _written(fanout, frame(seq), encoders=1)
        assert fanout.totals.calls == 20
        assert [viewer.video.sent + len(viewer.video._packets) for viewer in five] == [20] * 5
        assert len({id(viewer.video._packets[3]) for viewer in five}) == 1  # the very same packet

        fanout.add("H264")
        for seq in range(21, 31):
            await _written(fanout, frame(seq), encoders=2)
        assert fanout.totals.calls == 20 + 2 * 10
        fanout.close()

    asyncio.run(scenario())


async def _written(fanout: Fanout, picture: Frame, *, encoders: int) -> None:
    """Writes a frame and waits until it was encoded, so that none is dropped."""
    before = fanout.totals.calls
    fanout.write(picture)
    async with asyncio.timeout(20):
        while fanout.totals.calls < before + encoders:
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.005)  # what the encoder's thread left on the loop


def test_the_lowest_bit_rate_that_a_viewer_can_take_wins_unless_one_was_chosen() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        fanout, fixed = Fanout(ManualClock(), loop), Fanout(ManualClock(), loop, bit_rate=3_000_000)
        for each in (fanout, fixed):
            one, two = each.add("VP8"), each.add("VP8")
            each._heard(one, 900_000)
            each._heard(two, 500_000)
        asked = fanout._encoders["VP8"]._wanted, fixed._encoders["VP8"]._wanted

        assert asked == (500_000, 3_000_000)
        fanout.remove(fanout.viewers[1])
        assert fanout._encoders["VP8"]._wanted == 900_000
        fanout.close()
        fixed.close()

    asyncio.run(scenario())


def test_a_viewer_gets_key_frames_once_a_second_at_most() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        fanout = Fanout(clock, asyncio.get_running_loop())
        asked: list[object] = []
        viewer = fanout.add("VP8")
        fanout._encoders["VP8"].request_key = lambda: asked.append(clock.now())  # type: ignore[method-assign]

        for _ in range(12):
            clock.advance(0.25)
            viewer.ask_key()

        assert len(asked) == 3
        assert KEY_EVERY == 1.0
        fanout.close()

    asyncio.run(scenario())


def test_a_track_that_is_not_read_is_emptied_and_begins_again() -> None:
    async def scenario() -> None:
        overflows: list[bool] = []
        track = PacketTrack("video", lambda: overflows.append(True))

        for _ in range(QUEUE + 1):
            track.put(av.Packet(b"x"))

        assert overflows == [True]
        assert track.dropped == QUEUE
        assert len(track._packets) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 100, 50), (12, 200, 99)])
def test_colours_survive_the_way_out_and_in(colour: tuple[int, int, int]) -> None:
    picture = av.VideoFrame.from_ndarray(_yuv(frame(0, colour)), format="yuv420p")
    source = IncomingVideo(ManualClock())
    source.deposit(picture, 1.5)

    back = next(iter(source))

    assert np.abs(back.pixels.astype(int) - colour).max() <= 2
    assert back.captured_at == 1.5


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


def _has_called(encoder: SharedEncoder, times: int) -> bool:
    return encoder.calls >= times


def private(receiver: RTCRtpReceiver, name: str) -> Any:
    return getattr(receiver, f"_RTCRtpReceiver__{name}")
