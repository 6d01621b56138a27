"""Pictures on their way out: one encoding for all viewers of a codec, their bit rates and key frames, and colours."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.frame import Frame
from rtmatte.serve.incoming import IncomingVideo
from rtmatte.serve.outgoing import KEY_EVERY, QUEUE, Fanout, PacketTrack, _yuv
from tests.serving import SIZE


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
