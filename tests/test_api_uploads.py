"""Backgrounds that are sent to the control API: what becomes one, what is refused, and how many are kept."""

from __future__ import annotations

import struct
import zlib
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmatte.api.uploads import MOST_KEPT, picture_size
from rtmatte.clock import ManualClock
from rtmatte.imaging import load_image
from rtmatte.settings import Settings
from rtmatte.sinks.video import VideoSink
from rtmatte.sources.synthetic import SyntheticSource
from tests.api_bench import PICTURE, Bench, encoded, new_bench, values

bench = pytest.fixture(new_bench)


def huge_png() -> bytes:
    """Returns a PNG of few bytes whose header promises a gigapixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32768, 32768, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_that_is_sent_becomes_the_background(bench: Bench, suffix: str) -> None:
    kind = {".jpg": "jpeg"}.get(suffix, suffix[1:])

    answer = bench.send("PUT", "background", encoded(suffix), f"image/{kind}")

    assert answer.status == 200
    path = Path(bench.control.settings.background)
    assert path.parent == bench.uploads
    assert load_image(path).shape == PICTURE.shape
    assert values(answer)["background"] == f"file:{path.name}"  # the client learns no path


def test_a_file_that_was_sent_can_be_chosen_again(bench: Bench) -> None:
    name = values(bench.send("PUT", "background", encoded(".png"), "image/png"))["background"]
    sent = bench.control.settings.background
    bench.send("PATCH", "settings", {"background": "green"})

    assert bench.send("PATCH", "settings", {"background": name}).status == 200
    assert bench.control.settings.background == sent


def test_the_background_in_use_may_be_sent_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings=Settings(background="/home/me/beach.jpg"))

    shown = values(bench.send("GET", "settings"))

    assert shown["background"] == "file:beach.jpg"
    assert bench.send("PATCH", "settings", shown).status == 200
    assert bench.control.settings.background == "/home/me/beach.jpg"


def test_a_video_that_is_sent_becomes_the_background(bench: Bench, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "clip.mp4", size=(64, 48), fps=30.0) as sink:
        for frame in islice(SyntheticSource(ManualClock(), size=(64, 48)), 3):
            sink.write(frame)

    assert bench.send("PUT", "background", (tmp_path / "clip.mp4").read_bytes(), "video/mp4").status == 200
    assert bench.control.settings.background.endswith(".mp4")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (encoded(".png"), "image/jpeg", 415),
        (encoded(".png"), "image/svg+xml", 415),
        (encoded(".png"), "", 415),
        (encoded(".bmp"), "image/png", 415),
        (huge_png(), "image/png", 413),
        (encoded(".png")[:20], "image/png", 413),
        (encoded(".png")[:40], "image/png", 400),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "video/mp4", 400),
        (bytes((64 << 20) + 1), "image/png", 413),
    ],
)
def test_a_background_that_is_none_is_refused_and_not_kept(
    bench: Bench, body: bytes, content_type: str, status: int
) -> None:
    answer = bench.send("PUT", "background", body, content_type)

    assert answer.status == status
    assert "expected" in values(answer)["error"]
    assert bench.control.settings == Settings()
    assert not bench.uploads.exists() or not list(bench.uploads.iterdir())


def test_no_more_than_a_few_backgrounds_are_kept(bench: Bench) -> None:
    for level in range(MOST_KEPT + 3):
        bench.send("PUT", "background", encoded(".png", np.full((2, 2, 3), level, np.uint8)), "image/png")

    assert len(list(bench.uploads.iterdir())) == MOST_KEPT
    assert Path(bench.control.settings.background).exists()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_the_size_of_a_picture_is_in_its_header(suffix: str, width: int, height: int) -> None:
    assert picture_size(encoded(suffix, np.zeros((height, width, 3), np.uint8))) == (width, height)


def test_the_size_of_other_webps_is_in_their_headers() -> None:
    lossless = cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    extended = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4) + b"\x07\x00\x00\x05\x00\x00"

    assert picture_size(lossless) == picture_size(extended) == (8, 6)


@given(head=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF1234WEBPVP8X"]), rest=st.binary(max_size=40))
def test_a_header_of_anything_is_read_without_an_error(head: bytes, rest: bytes) -> None:
    picture_size(head + rest)
