"""A real capture device (vivid) behind the virtual camera: frames in order, and its light off while nobody watches."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.vm.cameras import CAPTURE, REAL, VIRTUAL, Luma, Run, is_open, luma, reading

pytestmark = pytest.mark.vm

RELEASE = 3.0  # seconds after the last viewer
SLACK = 60.0  # seconds that an emulator may be late; without a release it would be for ever
STAND = 4  # frames in a row: an emulator that cannot keep up shows every picture twice, some longer
STEP = 2  # pixels by which the pattern moves to the right from frame to frame, and comes in again on the left
WIDTH, HEIGHT = CAPTURE
WHOLE_TURN = WIDTH // STEP


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    pattern = "osd_text_mode=2,test_pattern=20,horizontal_movement=4"  # no text, a grey ramp, moving right slowly
    subprocess.run(["v4l2-ctl", "-d", REAL, "-c", pattern], check=True)
    with Run(REAL, CAPTURE, "--on-demand", str(RELEASE)) as started:
        started.wait_until_open()
        yield started


def positions(frames: Luma) -> list[int]:
    """Returns by how many steps the ramp has moved in each frame: where white meets black."""
    rows = frames[:, HEIGHT // 2].astype(np.int16)
    return [int(np.argmin(row - np.roll(row, 1))) // STEP for row in rows]


def test_nobody_watches_and_the_camera_is_closed(run: Run) -> None:
    run.wait_until(lambda: not is_open(REAL), "releasing the camera at the start")


def test_a_program_that_looks_at_the_list_does_not_open_it(run: Run) -> None:
    for _ in range(5):
        subprocess.run(["v4l2-ctl", "-d", VIRTUAL, "--info"], check=True, capture_output=True)
        assert not is_open(REAL)
    time.sleep(2)
    assert not is_open(REAL)


def test_a_viewer_gets_the_frames_of_the_camera_in_order(run: Run, tmp_path: Path) -> None:
    raw = tmp_path / "seen.raw"
    with reading(raw):
        run.wait_until(lambda: is_open(REAL), "opening the camera for a viewer")
        run.wait_until(lambda: len(_moving(raw)) > 40, "showing the camera's frames")

    steps = np.diff(positions(_moving(raw))[10:]) % WHOLE_TURN
    assert (steps < WHOLE_TURN // 2).all(), f"out of order: {steps.tolist()}"
    assert np.count_nonzero(steps) > len(steps) // 3, f"stands still: {steps.tolist()}"
    assert longest_stand(steps) <= STAND, f"stands still: {steps.tolist()}"


def longest_stand(steps: NDArray[np.intp]) -> int:
    """Returns how many frames in a row, at most, did not move."""
    moved = np.flatnonzero(np.concatenate([[1], steps, [1]]))
    return int(np.diff(moved).max()) - 1


def test_the_camera_is_released_after_the_last_viewer(run: Run) -> None:
    left_at = time.monotonic()

    run.wait_until(lambda: not is_open(REAL), "releasing the camera")

    assert time.monotonic() - left_at < RELEASE + SLACK


def test_ctrl_c_ends_it_in_order_and_the_next_one_can_write(run: Run) -> None:
    assert run.interrupt() == 130
    able = subprocess.run(["v4l2-ctl", "-d", VIRTUAL, "--info"], check=True, capture_output=True, text=True).stdout
    assert "Video Output" in able


def _moving(raw: Path) -> Luma:
    """Returns the frames in which the ramp is seen: the slate is of one level."""
    frames = luma(raw.read_bytes(), "i420", CAPTURE) if raw.exists() else np.empty((0, HEIGHT, WIDTH), np.uint8)
    moving: Luma = frames[np.ptp(frames[:, HEIGHT // 2], axis=1) > 100]
    return moving
