"""Ten thousand frames through session, engine and compositor: the process may not grow."""

import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil

from rtmatte.backends.ort import OrtEngine
from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import parse_background
from rtmatte.compose.host import ComposeOptions, open_compositor
from rtmatte.frame import Frame, Mask
from rtmatte.session import Session
from tests.assertions import SOAK_BYTES
from tests.toy_model import save_toy, toy_contract

FRAMES, WARM = 10_000, 1_000


def test_ten_thousand_frames_leave_the_process_as_it_was(tmp_path: Path) -> None:
    # In a process of its own: what other tests have left in this one comes and goes meanwhile.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        frames, grown = pool.submit(played, tmp_path).result()

    assert frames == WARM + FRAMES
    assert grown <= SOAK_BYTES


def played(folder: Path) -> tuple[int, int]:
    """Returns how many frames a session has had, and by how many bytes the process grew after the first of them."""
    clock, process = ManualClock(), psutil.Process()
    session = Session(OrtEngine(save_toy(folder / "toy.onnx", toy_contract()), threads=1), None, clock)
    session.reseed(Mask(np.full((27, 48), 0.5, np.float32)))
    compositor = open_compositor(parse_background("blur"), ComposeOptions(), clock)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 27, 48, 3)).astype(np.uint8)

    before = 0
    for seq in range(WARM + FRAMES):
        if seq == WARM:
            gc.collect()
            before = process.memory_info().rss
        compositor.render(session.process(Frame(seq, pixels[seq % 4], clock.now())))
        clock.advance(1 / 30)
    gc.collect()
    return session.status.frames, process.memory_info().rss - before
