"""Reading, writing, resizing and fitting pictures; nothing is compared with more than what the eye would accept."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtmatte.errors import InputError, MaskError, SinkError, SourceError
from rtmatte.frame import Mask
from rtmatte.imaging import Fit, dilate_then_erode, largest_part, load_image, load_mask, resize, save_png
from tests.assertions import SHRUNK_LIKENESS, SHRUNK_NOISE

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def picture(width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_saved_colour_picture_is_read_back_in_the_same_channel_order(tmp_path: Path, channels: int) -> None:
    pixels = picture(7, 5, channels)

    save_png(tmp_path / "a.png", pixels)

    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), pixels[..., :3])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_a_saved_grey_picture_is_a_mask_of_the_same_greys(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = picture(7, 5, 1).reshape(shape)

    save_png(tmp_path / "m.png", grey)

    np.testing.assert_array_equal(np.rint(load_mask(tmp_path / "m.png").values * 255), grey.reshape(5, 7))


def test_a_mask_with_transparency_is_its_alpha(tmp_path: Path) -> None:
    pixels = picture(7, 5, 4)
    save_png(tmp_path / "m.png", pixels)

    mask = load_mask(tmp_path / "m.png")

    np.testing.assert_array_equal(np.rint(mask.values * 255), pixels[..., 3])


def test_an_opaque_coloured_mask_is_its_brightness(tmp_path: Path) -> None:
    pixels = np.full((5, 7, 4), 255, np.uint8)
    pixels[:, :3, :3] = 0
    save_png(tmp_path / "m.png", pixels)

    mask = load_mask(tmp_path / "m.png")

    np.testing.assert_array_equal(mask.values, np.tile([0, 0, 0, 1, 1, 1, 1], (5, 1)))


def test_a_mask_of_16_bits_covers_0_to_1(tmp_path: Path) -> None:
    deep = np.array([[0, 32768, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "m.png"), deep)

    np.testing.assert_allclose(load_mask(tmp_path / "m.png").values, [[0, 0.5, 1]], atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=r"broken\.png"):
        load_image(path)
    with pytest.raises(MaskError, match=r"broken\.png"):
        load_mask(path)


def test_a_missing_or_unreadable_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(MaskError, match="cannot read"):
        load_mask(tmp_path)


def test_a_mask_of_floats_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.tiff"), np.zeros((2, 2), np.float32))

    with pytest.raises(MaskError, match="8 or 16 bits"):
        load_mask(tmp_path / "m.tiff")


def test_an_unwritable_png_is_a_sink_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot write"):
        save_png(tmp_path / "no" / "folder.png", picture(2, 2))


def test_shrinking_averages_and_keeps_one_channel() -> None:
    pixels = np.array([[0, 100], [200, 100]], np.uint8)[..., None]

    assert resize(pixels, (1, 1)).tolist() == [[[100]]]


def test_resizing_to_the_same_size_copies() -> None:
    pixels = picture(4, 3)

    copy = resize(pixels, (4, 3))

    np.testing.assert_array_equal(copy, pixels)
    assert not np.shares_memory(copy, pixels)


@given(source=SIZES, target=SIZES, kind=st.sampled_from([np.uint8, np.float32]))
@settings(max_examples=60, deadline=None)
def test_resizing_writes_into_the_memory_given(source: tuple[int, int], target: tuple[int, int], kind: type) -> None:
    pixels: NDArray[Any] = np.full((source[1], source[0], 3), 77).astype(kind)
    out: NDArray[Any] = np.zeros((target[1], target[0], 3)).astype(kind)

    answer = resize(pixels, target, out)

    assert answer is out
    np.testing.assert_allclose(out, 77, atol=1e-3)


def test_memory_of_the_wrong_size_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        resize(picture(4, 3), (2, 2), np.zeros((3, 3, 3), np.uint8))


@given(source=SIZES, target=SIZES)
@settings(max_examples=80, deadline=None)
def test_a_fit_is_inside_centred_undistorted_and_black_around(source: tuple[int, int], target: tuple[int, int]) -> None:
    fit = Fit.contain(source, target)
    x, y, width, height = fit.box
    out = np.full((target[1], target[0], 3), 9, np.uint8)

    fit.forward(np.full((source[1], source[0], 3), 200, np.uint8), out)

    assert abs((target[0] - width) - 2 * x) <= 1
    assert abs((target[1] - height) - 2 * y) <= 1
    assert width == target[0] or height == target[1]
    scale = min(target[0] / source[0], target[1] / source[1])
    assert abs(width - source[0] * scale) <= 0.5 or width == 1
    assert abs(height - source[1] * scale) <= 0.5 or height == 1
    assert (fit.crop(out) == 200).all()
    assert int((out == 0).sum()) == out.size - fit.crop(out).size


@pytest.mark.parametrize("source", [(1280, 720), (640, 480), (1920, 1080), (4000, 90), (101, 57)])
def test_every_pixel_counts_when_a_frame_is_made_smaller(source: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (source[1], source[0], 3), np.uint8)
    fit = Fit.contain(source, (50, 28))
    means, found = fit.crop(np.zeros((28, 50, 3), np.uint8)), np.zeros((28, 50, 3), np.uint8)

    fit.forward(noise, found)

    cv2.resize(noise, fit.box[2:], means, interpolation=cv2.INTER_AREA)
    shown = fit.crop(found)
    assert np.corrcoef(shown.ravel(), means.ravel())[0, 1] > SHRUNK_LIKENESS
    assert shown.std() < SHRUNK_NOISE * means.std()


def test_a_half_is_the_mean_of_four() -> None:
    pixels, out = picture(128, 72), np.zeros((36, 64, 3), np.uint8)

    Fit.contain((128, 72), (64, 36)).forward(pixels, out)

    np.testing.assert_allclose(out, pixels.reshape(36, 2, 64, 2, 3).mean(axis=(1, 3)), atol=0.5)


def test_a_frame_of_the_working_size_passes_unchanged() -> None:
    pixels, out = picture(64, 36), np.zeros((36, 64, 3), np.uint8)
    fit = Fit.contain((64, 36), (64, 36))

    fit.forward(pixels, out)

    assert fit.box == (0, 0, 64, 36)
    np.testing.assert_array_equal(out, pixels)


def test_a_crop_shares_the_memory_of_the_working_array() -> None:
    alpha = np.zeros((36, 64), np.float32)

    view = Fit.contain((40, 36), (64, 36)).crop(alpha)

    assert view.shape == (36, 40)
    assert np.shares_memory(view, alpha)


def test_bytes_enter_a_float_graph_and_floats_a_byte_graph() -> None:
    fit = Fit.contain((4, 2), (4, 4))
    floats, bytes_ = np.ones((4, 4, 3), np.float32), np.ones((4, 4, 3), np.uint8)

    fit.forward(np.full((2, 4, 3), 200, np.uint8), floats)
    fit.forward(np.full((4, 8, 3), [99.6, 300.0, -3.0], np.float32), bytes_)

    assert floats[:, 0, 0].tolist() == [0, 200, 200, 0]
    assert bytes_[1, 1].tolist() == [100, 255, 0]


def test_fitting_a_frame_allocates_no_picture() -> None:
    fit = Fit.contain((640, 480), (512, 288))
    pixels, out = picture(640, 480), np.zeros((288, 512, 3), np.uint8)
    fit.forward(pixels, out)

    tracemalloc.start()
    fit.forward(pixels, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000


def test_a_size_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="1x1"):
        Fit.contain((0, 4), (4, 4))


def mask_of(rows: list[list[int]]) -> Mask:
    return Mask((np.array(rows) / 255).astype(np.float32))


def test_a_mask_without_dilation_or_erosion_keeps_its_greys() -> None:
    mask = mask_of([[0, 3, 255]])

    assert dilate_then_erode(mask, dilate=0, erode=0) is mask


def test_dilation_takes_any_grey_and_erosion_only_white() -> None:
    mask = mask_of([[0, 1, 254, 255, 0]])

    grown = dilate_then_erode(mask, dilate=1, erode=0)
    shrunk = dilate_then_erode(mask, dilate=0, erode=1)

    assert grown.values.tolist() == [[0, 1, 1, 1, 0]]
    assert shrunk.values.tolist() == [[0, 0, 0, 1, 0]]


def test_dilating_and_eroding_alike_closes_a_hole_and_keeps_the_border() -> None:
    values = np.ones((21, 21), np.float32)
    values[10, 10] = 0

    closed = dilate_then_erode(Mask(values), dilate=5, erode=5)

    assert closed.area == 1.0


def test_an_even_ellipse_is_off_centre_like_the_reference() -> None:
    values = np.zeros((9, 9), np.float32)
    values[4, 4] = 1

    grown = dilate_then_erode(Mask(values), dilate=4, erode=0).values

    rows = np.flatnonzero(grown.any(axis=1))
    assert (rows[0], rows[-1]) == (3, 6)


def test_only_the_largest_part_of_an_alpha_is_kept() -> None:
    alpha = np.zeros((20, 30), np.float32)
    alpha[2:18, 2:12] = 0.9
    alpha[4:8, 20:26] = 1.0

    kept = largest_part(alpha)

    np.testing.assert_array_equal(kept[:, :15], alpha[:, :15])
    assert not kept[:, 15:].any()
    assert not largest_part(np.zeros((4, 5), np.float32)).any()
