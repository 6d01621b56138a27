"""Token buckets by address: how often something may happen."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from rtmatte.clock import Clock

ADDRESSES = 4096  # remembered at a time; the one unheard of longest makes room


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class RateLimit:
    """`rate` times a second in the long run, `burst` at once, for each address alone."""

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, address: str) -> float:
        """Counts one for `address`; returns 0 when it is allowed, else the seconds until it will be."""
        now = self._clock.now()
        bucket = self._buckets.setdefault(address, _Bucket(self._burst, now))
        self._buckets.move_to_end(address)
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left >= 1:
            bucket.left -= 1
            return 0.0
        return (1 - bucket.left) / self._rate
