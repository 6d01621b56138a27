"""What a figure was measured on: processor, system and versions, for every report. It measures nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "openvino",
)

Facts = dict[str, str | int | float | dict[str, str]]


def describe() -> Facts:
    """Returns facts fit for JSON: processor, cores, load, system, Python and the installed packages of the trade.

    `load` is the system's mean number of running tasks over the last minute: next to `cores` it tells whether a
    timing was taken on an idle machine.
    """
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "load": round(psutil.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": installed(),
    }


def processor() -> str:
    """Returns the processor's marketing name, or its architecture where the system does not tell."""
    if platform.system() == "Darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Returns the number of logical cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def installed() -> dict[str, str]:
    """Returns name and version of those `PACKAGES` that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
