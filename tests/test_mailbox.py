"""One item, the newest wins, and nothing gets lost without being handed back."""

from __future__ import annotations

from threading import Event, Thread

from hypothesis import given, settings
from hypothesis import strategies as st

from rtmatte.mailbox import Mailbox

LONG = 10.0  # seconds before a test that hangs gives up


def test_what_is_put_is_taken_once() -> None:
    box: Mailbox[int] = Mailbox()

    lost = box.put(1)

    assert lost is None
    assert box.take(0) == 1
    assert box.take(0) is None
    assert box.dropped == 0


def test_a_newer_item_pushes_the_older_one_out() -> None:
    box: Mailbox[int] = Mailbox()

    lost = [box.put(n) for n in (1, 2, 3)]

    assert lost == [None, 1, 2]
    assert box.take(0) == 3
    assert box.dropped == 2


def test_what_was_inside_at_the_close_can_still_be_taken() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)

    box.close()
    box.close()

    before, item, after = box.finished, box.take(), box.finished

    assert (before, item, after) == (False, 1, True)
    assert box.take() is None


def test_a_closed_mailbox_hands_back_what_comes_later() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.close()

    assert box.put(2) == 2
    assert box.take(0) == 1
    assert box.dropped == 1


def test_whoever_waits_is_woken_by_an_item_and_by_the_close() -> None:
    box: Mailbox[int] = Mailbox()
    got: list[int | None] = []
    first = Event()

    def wait() -> None:
        got.append(box.take())
        first.set()
        got.append(box.take())

    thread = Thread(target=wait, daemon=True)
    thread.start()
    box.put(1)
    assert first.wait(LONG)
    box.close()
    thread.join(LONG)

    assert not thread.is_alive()
    assert got == [1, None]


def test_between_threads_every_item_is_taken_in_order_or_handed_back() -> None:
    box: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def take_all() -> None:
        while not box.finished:
            if (item := box.take(LONG)) is not None:
                taken.append(item)

    thread = Thread(target=take_all, daemon=True)
    thread.start()
    lost = [item for n in range(5_000) if (item := box.put(n)) is not None]
    box.close()
    thread.join(LONG)

    assert not thread.is_alive()
    assert taken[-1] == 4_999
    assert taken == sorted(taken)
    assert sorted(taken + lost) == list(range(5_000))
    assert box.dropped == len(lost)


@given(steps=st.lists(st.sampled_from(["put", "take", "close"]), max_size=30))
@settings(deadline=None)
def test_nothing_vanishes_whatever_the_order(steps: list[str]) -> None:
    box: Mailbox[int] = Mailbox()
    put: list[int] = []
    out: list[int] = []

    for n, step in enumerate(steps):
        if step == "put":
            put.append(n)
            lost = box.put(n)
            out += [] if lost is None else [lost]
        elif step == "take":
            item = box.take(0)
            out += [] if item is None else [item]
        else:
            box.close()
    last = box.take(0)

    assert sorted(out + ([] if last is None else [last])) == put
