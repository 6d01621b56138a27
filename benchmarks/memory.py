"""The memory that stepping a graph takes at most: a process that does nothing else, as the system counts it.

    python -m benchmarks.memory matanyone-1920x1080-fast.onnx --json memory.json

Linux and macOS; the network's own share is what lies above the figure before it is loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import report
from benchmarks.backends import Stream
from rtmatte.backends.ort import OrtEngine
from rtmatte.errors import EnvironmentFault
from rtmatte.modelfile import sha256_of

STEPS = 2  # after a seed and a settling pass; the first may allocate otherwise than those that follow


def peak_bytes() -> int:
    """Returns the most memory this process has had so far; EnvironmentFault where the system does not say."""
    if sys.platform != "win32":
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    raise EnvironmentFault("this system does not say what a process took at most; run it on Linux or macOS")


def main(
    graph: Annotated[Path, typer.Argument(help="An ONNX file with a contract.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Step a graph in ONNX Runtime on the CPU and say how much memory that took."""
    peaks = {"before": peak_bytes()}
    engine = OrtEngine(graph, threads=threads)
    peaks["loaded"] = peak_bytes()
    stream = Stream(engine)
    for _ in range(STEPS):
        stream.step()
    peaks["stepped"] = peak_bytes()
    contract = engine.contract
    for name, value in peaks.items():
        Console().print(f"{name:8} {value / 1e9:.2f} GB")
    if json is not None:
        body = {
            "model": contract.model,
            "variant": contract.variant,
            "size": "x".join(map(str, contract.size)),
            "backend": engine.backend,
            "threads": threads,
            "files": {graph.name: sha256_of(graph)},
            "peak_bytes": peaks,
        }
        report.write_json(json, "benchmarks.memory", body)


if __name__ == "__main__":
    report.run(main)
