"""The whole server with the fake engine, for hosts that have better to do than to cut out people.

python -m tests.network.server HOST TOKEN
"""

from __future__ import annotations

import sys

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import MonotonicClock
from rtmatte.serve import server
from rtmatte.serve.network import Networks
from rtmatte.serve.options import Limits, ServeOptions
from tests.serving import line_opener

PORT = 8080

if __name__ == "__main__":
    host, token = sys.argv[1:]
    options = ServeOptions(host=host, port=PORT, token=token, limits=Limits(publishers=1))
    clock = MonotonicClock()
    networks = Networks(lambda size: FakeEngine(*size), lambda size: size, clock)
    server.run(options, networks, line_opener(networks), clock, lambda address: print("open", flush=True), model="fake")
