"""A mailbox for one item between two threads: the newest wins, and what it pushes out is handed back to be counted."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Room for one item. After `close` nothing enters, and what is inside can still be taken."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: T | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items never reached the other side: pushed out, or refused after the close."""
        return self._dropped

    @property
    def finished(self) -> bool:
        """Whether nothing is inside and nothing will come."""
        with self._changed:
            return self._closed and self._item is None

    def put(self, item: T) -> T | None:
        """Leaves `item`, never waiting; returns what got lost by it: the older item still there, or, in a closed
        mailbox, `item` itself."""
        with self._changed:
            if self._closed:
                lost: T | None = item
            else:
                lost, self._item = self._item, item
                self._changed.notify()
            self._dropped += lost is not None
            return lost

    def take(self, timeout: float | None = None) -> T | None:
        """Returns the item, waiting for one up to `timeout` seconds (None: for ever).

        None when none came in time, or when none will come any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Lets nothing in any more and wakes whoever waits. Closing twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
