"""What `rtmatte serve` makes of its options before the first request."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from rtmatte.backends.fake import FakeEngine
from rtmatte.cli.serve import line_opener
from rtmatte.clock import ManualClock
from rtmatte.control import Control
from rtmatte.frame import Mask
from rtmatte.ladder import Rung
from rtmatte.serve.network import Networks
from rtmatte.settings import Settings
from rtmatte.sinks.memory import MemorySink
from rtmatte.sources.synthetic import SyntheticSource

SIZE = (96, 54)


def test_a_stream_that_cannot_keep_up_falls_back_on_the_smaller_network() -> None:
    clock = ManualClock()
    full, smaller = FakeEngine(*SIZE), FakeEngine(48, 28)
    networks = Networks(lambda size: full, hash, clock, open_smaller=lambda size: smaller)
    scene = SyntheticSource(clock, size=SIZE, frames=5)
    mask = Mask((scene.alpha_of(0) > 0.5).astype(np.float32))
    with closing(networks):
        line = line_opener(networks, networks, clock)(SIZE, Control(Settings(background="green")), mask)
        line._cutter.rung = Rung.SMALLER  # as the ladder says after two bad seconds

        counts = line.run(scene, MemorySink())

    assert counts.received == 5
    assert ("seed",) in smaller.calls
    assert ("seed",) not in full.calls
