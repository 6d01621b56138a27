"""What a server has received so far, from its own metrics, asked for every 50 ms on its own host.

python -m tests.network.counts ADDRESS TOKEN

It says "publishers N", "received N" and "left N", the pictures that left the line, each with the time on the monotonic
clock, whenever one changes.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.request

EVERY = 0.05
METRICS = {
    "publishers": r"^rtmatte_publishers (\d+)",
    "received": r"^rtmatte_pictures_received_total\{.*\} (\d+)",
    "left": r"^rtmatte_pictures_sent_total\{.*\} (\d+)",
}


def _run(address: str, token: str) -> None:
    request = urllib.request.Request(f"{address}/metrics", headers={"Authorization": f"Bearer {token}"})
    before: dict[str, str] = {}
    while True:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read().decode()
        for name, pattern in METRICS.items():
            found = re.search(pattern, text, re.MULTILINE)
            if found and before.get(name) != found[1]:
                before[name] = found[1]
                print(name, found[1], time.monotonic(), flush=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    _run(*sys.argv[1:])
