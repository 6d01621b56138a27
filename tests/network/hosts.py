"""Two network namespaces, SERVER and PEERS, joined by nothing but the weather."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.network import DEVICE

ADDRESSES = {"server": "10.77.0.1", "peers": "10.77.0.2"}  # seen by nobody outside the two namespaces
PATIENCE = 40.0


class NotAllowed(Exception):
    """There can be no network namespaces here."""


@dataclass
class Running:
    """A process of one of the hosts, and the lines it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str]

    def await_line(self, beginning: str) -> str:
        """Returns its first line that begins so."""
        end = time.monotonic() + PATIENCE
        while not (found := [line for line in self.lines if line.startswith(beginning)]):
            assert time.monotonic() < end, f"expected {beginning!r}, found {self.lines[-5:]}"
            assert self.process.poll() is None, f"it ended: {self.lines[-5:]}"
            time.sleep(0.02)
        return found[0]


class Hosts:
    """The two namespaces while they are up."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._names = {host: f"rtmatte-{os.getpid()}-{host}" for host in ADDRESSES}
        for name in self._names.values():
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        self._weather = self._start([sys.executable, "-m", "tests.network.weather", *self._names.values()])
        self._weather.await_line("ready")
        for host, address in ADDRESSES.items():
            _ip("-n", self._names[host], "address", "add", f"{address}/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                _ip("-n", self._names[host], "link", "set", device, "up")

    def run(self, host: str, *command: str) -> Running:
        """Starts a program of this Python on a host; it ends with the hosts."""
        return self._start(["ip", "netns", "exec", self._names[host], sys.executable, *command])

    def weather(self, order: str) -> tuple[float, int]:
        """Changes the weather; returns when, on the monotonic clock, and how many packets were lost until then."""
        said = len(self._weather.lines)
        assert self._weather.process.stdin is not None
        self._weather.process.stdin.write(f"{order}\n")
        self._weather.process.stdin.flush()
        end = time.monotonic() + PATIENCE
        while len(self._weather.lines) == said:
            assert time.monotonic() < end, "the weather does not answer"
            time.sleep(0.005)
        at, lost = self._weather.lines[said].split()
        return float(at), int(lost)

    def _start(self, command: list[str]) -> Running:
        pipe = subprocess.PIPE
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.getcwd()}
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment
        )
        running = Running(process, [])
        assert process.stdout is not None
        reader = threading.Thread(target=_read, args=(process.stdout, running.lines), daemon=True)
        reader.start()
        self._stack.callback(_end, process, reader)
        return running


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Both hosts, until the end; NotAllowed where namespaces or TUN devices cannot be made."""
    if shutil.which("ip") is None:
        raise NotAllowed("iproute2 is not installed")
    if not Path("/dev/net/tun").exists():
        raise NotAllowed("there is no /dev/net/tun")
    with ExitStack() as stack:
        yield Hosts(stack)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _read(stream: IO[str], lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in stream)


def _end(process: subprocess.Popen[str], reader: threading.Thread) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    reader.join(10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
