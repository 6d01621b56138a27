"""What this machine has: packages, backends, GPUs, cameras and virtual cameras. It looks, it judges nothing.

`root` is the folder in which the system's own ones lie: / unless a test has made another.
"""

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
from rtmatte.sources.camera import CameraInfo, list_cameras

ROOT = Path("/")
CAMERAS = "sys/class/video4linux"
LOOPBACKS = "sys/devices/virtual/video4linux"
LOOPBACK_MODULE = "sys/module/v4l2loopback"
PCI_DEVICES = "sys/bus/pci/devices"
NVIDIA, DISPLAY = "0x10de", "0x03"  # a PCI vendor, and how the class of a graphics card begins
# The firmware's own variable, named by the UEFI standard; its last byte is the value.
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
BOXED_OBS = {
    "snap": "snap/obs-studio",
    "flatpak": "var/lib/flatpak/app/com.obsproject.Studio",
}


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


@dataclass(frozen=True, slots=True)
class LoopbackModule:
    """The kernel module of the virtual cameras: whether it could be loaded, and whether it is."""

    installed: bool
    loaded: bool


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


def idle_gpu(root: Path = ROOT) -> bool:
    """Whether an NVIDIA GPU is plugged in, driver or not; Linux only."""
    return any(
        _text(device / "vendor") == NVIDIA and _text(device / "class").startswith(DISPLAY)
        for device in (root / PCI_DEVICES).glob("*")
    )


def names_cameras() -> bool:
    """Whether this system tells its cameras without switching each of them on: Linux does."""
    return platform.system() == "Linux"


def cameras(root: Path = ROOT) -> list[CameraInfo]:
    """Returns the real cameras that the system names."""
    virtual = {f"/dev/{node.name}" for node in (root / LOOPBACKS).glob("video*")}
    return [camera for camera in list_cameras(root / CAMERAS) if camera.device not in virtual]


def virtual_cameras(root: Path = ROOT) -> list[VirtualCamera]:
    """Returns the v4l2loopback devices, by number; elsewhere than on Linux there is nothing to list."""
    nodes = sorted((root / LOOPBACKS).glob("video*"), key=lambda node: (len(node.name), node.name))
    flags = _text(root / LOOPBACK_MODULE / "parameters/exclusive_caps").split(",")
    return [
        VirtualCamera(f"/dev/{node.name}", _text(node / "name"), exclusive=flags[n : n + 1] == ["Y"])
        for n, node in enumerate(nodes)
    ]


def loopback_module(root: Path = ROOT) -> LoopbackModule:
    """Returns how far v4l2loopback is for the kernel that runs."""
    known = _text(root / "lib/modules" / platform.release() / "modules.dep")
    loaded = (root / LOOPBACK_MODULE).exists()
    return LoopbackModule(installed=loaded or "/v4l2loopback.ko" in known, loaded=loaded)


def secure_boot(root: Path = ROOT) -> bool:
    """Whether the firmware lets only a signed kernel start, which then loads only signed modules."""
    try:
        return (root / SECURE_BOOT).read_bytes()[-1:] == b"\x01"
    except OSError:  # no such firmware
        return False


def pipewire(root: Path = ROOT) -> bool:
    """Whether programs may take their cameras from PipeWire here."""
    return any((root / "run/user").glob("*/pipewire-0"))


def boxed_obs(root: Path = ROOT) -> list[str]:
    """Returns the kinds of package, snap or flatpak, in which OBS Studio is shut off from devices."""
    return [kind for kind, place in BOXED_OBS.items() if (root / place).exists()]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
