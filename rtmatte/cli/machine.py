"""What this machine has: packages, backends, GPUs, cameras and virtual cameras. It looks, it judges nothing."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rtmatte import models
from rtmatte.backends import candidates
from rtmatte.cli.line import DEFAULT_MODEL
from rtmatte.engine import open_engine
from rtmatte.errors import RtmatteError
from rtmatte.sources.camera import SYSFS, CameraInfo, list_cameras

LOOPBACKS = Path("/sys/devices/virtual/video4linux")
EXCLUSIVE_CAPS = Path("/sys/module/v4l2loopback/parameters/exclusive_caps")


@dataclass(frozen=True, slots=True)
class BackendProbe:
    """A backend's name, and either what it calls itself when it runs, or why it does not."""

    name: str
    runs: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VirtualCamera:
    """A v4l2loopback device, its label, and whether it looks like a camera to browsers while it is written to."""

    device: str
    label: str
    exclusive: bool


def installed(package: str) -> str | None:
    """Returns the version of a distribution, or None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def probe_backends() -> list[BackendProbe]:
    """Returns what happens when each backend runs the self-test of the bundled model; ModelError when there is none."""
    path, probes = models.find(DEFAULT_MODEL), []
    for backend in candidates(path):
        try:
            engine = open_engine(path, backend=backend.name)
        except RtmatteError as error:
            reason = str(error).partition(f"{backend.name}: ")[2] or str(error)
            probes.append(BackendProbe(backend.name, reason=reason))
        else:
            probes.append(BackendProbe(backend.name, runs=engine.backend))
            engine.close()
    return probes


def gpus() -> list[str]:
    """Returns name, memory and driver of each NVIDIA GPU that its driver reports."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def virtual_cameras(root: Path = LOOPBACKS, exclusive_caps: Path = EXCLUSIVE_CAPS) -> list[VirtualCamera]:
    """Returns the v4l2loopback devices, by number; elsewhere than on Linux there is nothing to list."""
    nodes = sorted(root.glob("video*"), key=lambda node: (len(node.name), node.name))
    flags = exclusive_caps.read_text().strip().split(",") if exclusive_caps.exists() else []
    labels = [(node / "name").read_text(errors="replace").strip() for node in nodes]
    return [
        VirtualCamera(f"/dev/{node.name}", label, flags[n] == "Y" if n < len(flags) else False)
        for n, (node, label) in enumerate(zip(nodes, labels, strict=True))
    ]


def names_cameras() -> bool:
    """Whether this system tells its cameras without switching each of them on: Linux does."""
    return platform.system() == "Linux"


def cameras(root: Path = SYSFS, loopbacks: Path = LOOPBACKS) -> list[CameraInfo]:
    """Returns the real cameras that the system names."""
    virtual = {f"/dev/{node.name}" for node in loopbacks.glob("video*")}
    return [camera for camera in list_cameras(root) if camera.device not in virtual]
