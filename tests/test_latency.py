"""What the meter says about marks whose times are known."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest

from rtmatte.errors import InputError
from rtmatte.latency import END_TO_END, WAITING, Meter, Percentiles, Stage


def mark_all(meter: Meter, seq: int, start: float, *, wait: float = 0.0, network: float = 0.010) -> None:
    """Marks a frame that took 1 ms to read, `network` to cut out, 2 ms to draw and 3 ms to send, after two waits."""
    meter.mark(seq, Stage.CAPTURED, start)
    now = start + 0.001
    meter.mark(seq, Stage.RECEIVED, now)
    meter.mark(seq, Stage.NETWORK, now + wait + network, began=now + wait)
    now += wait + network
    meter.mark(seq, Stage.COMPOSITED, now + wait + 0.002, began=now + wait)
    meter.mark(seq, Stage.SENT, now + wait + 0.005)


def p50s(meter: Meter) -> dict[str, float]:
    return {name: round(percentiles.p50, 6) for name, percentiles in meter.summary().items()}


def test_computing_and_waiting_are_told_apart() -> None:
    meter = Meter()

    mark_all(meter, 0, start=5.0, wait=0.020)

    assert p50s(meter) == {"received": 1, "network": 10, "composited": 2, "sent": 3, WAITING: 40, END_TO_END: 56}


def test_the_percentiles_are_those_of_the_durations() -> None:
    meter = Meter()
    for seq in range(101):
        mark_all(meter, seq, start=float(seq), network=seq / 1000)

    network = meter.summary()["network"]

    assert (network.p50, network.p95, network.p99) == pytest.approx((50, 95, 99))


def test_nothing_is_said_about_nothing() -> None:
    assert Meter().summary() == {}


def test_a_frame_that_was_dropped_counts_only_where_it_has_been() -> None:
    meter = Meter()
    mark_all(meter, 0, start=0.0)
    meter.mark(1, Stage.CAPTURED, 1.0)
    meter.mark(1, Stage.RECEIVED, 1.9)

    summary = meter.summary()

    assert summary["received"].p50 == pytest.approx((1 + 900) / 2)
    assert summary[END_TO_END].p99 == pytest.approx(16)


def test_the_ring_forgets_the_oldest_frames() -> None:
    meter = Meter(capacity=4)
    for seq in range(4):
        mark_all(meter, seq, start=float(seq), network=1.0)
    for seq in range(4, 8):
        mark_all(meter, seq, start=float(seq), network=0.010)

    assert meter.summary()["network"].p99 == pytest.approx(10)


def test_a_new_frame_in_an_old_place_inherits_no_mark() -> None:
    meter = Meter(capacity=1)
    mark_all(meter, 0, start=0.0)

    meter.mark(1, Stage.CAPTURED, 9.0)

    assert meter.summary() == {}


def test_a_summary_can_begin_at_a_time() -> None:
    meter = Meter()
    mark_all(meter, 0, start=0.0, network=1.0)
    mark_all(meter, 1, start=2.0, network=0.010)

    assert meter.summary(since=1.0)["network"].p99 == pytest.approx(10)


def test_the_rate_is_that_of_the_last_second_and_falls_to_zero_in_a_stall() -> None:
    meter = Meter()
    for seq in range(60):
        mark_all(meter, seq, start=seq / 30)

    assert meter.fps(2.0) == 30
    assert meter.fps(2.0, window=0.5) == 30
    assert meter.fps(9.0) == 0


def test_drops_are_counted_by_reason_from_any_thread() -> None:
    meter = Meter()

    def drop_many() -> None:
        for _ in range(2_000):
            meter.drop("late")

    threads = [Thread(target=drop_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter.drop("stopped")

    assert meter.drops == {"late": 8_000, "stopped": 1}


def test_percentiles_are_in_milliseconds() -> None:
    assert Percentiles.of(np.array([0.002])) == Percentiles(2.0, 2.0, 2.0)


def test_a_meter_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Meter(0)
