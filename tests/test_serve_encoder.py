"""The shared encoders: key frames, bit rates, sizes and colours, and the GPU or the processor that runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.frame import Frame
from rtmatte.serve import encoder
from rtmatte.serve.assembly import is_key_frame
from rtmatte.serve.encoder import Encoded, Picture, SharedEncoder, described, open_codec, start_bit_rate, within
from rtmatte.serve.offer import VIDEO_CODECS, VideoCodec
from rtmatte.serve.outgoing import _yuv
from tests.serving import SIZE


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


def _has_called(encoder: SharedEncoder, times: int) -> bool:
    return encoder.calls >= times
