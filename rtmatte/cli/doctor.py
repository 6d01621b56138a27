"""`rtmatte doctor`: what is missing for a camera to become a virtual camera here, and the line that fixes it."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import rtmatte
from rtmatte import models
from rtmatte.cli import machine
from rtmatte.cli.console import out, say
from rtmatte.errors import ExitCode, RtmatteError
from rtmatte.modelfile import sha256_of
from rtmatte.sinks.virtualcam import HINTS, LOAD_MODULE, RELOAD_MODULE

UNNAMED = "Dummy video device"  # how v4l2loopback labels what nobody labelled
JOIN_VIDEO = "sudo usermod -aG video $USER, then log out and in again"
SIGN_MODULE = (
    "let the firmware trust what this machine builds: sudo mokutil --import /var/lib/dkms/mok.pub, then start it anew "
    "and confirm; or switch Secure Boot off"
)
UNBOX = {
    "snap": "sudo snap connect obs-studio:camera",
    "flatpak": "flatpak override --user --device=all com.obsproject.Studio",
}
# Two distributions that own the same modules: the second one installed overwrites parts of the first.
RIVALS = (("opencv-python-headless", "opencv-python"), ("onnxruntime", "onnxruntime-gpu"))


class Verdict(StrEnum):
    """How a finding bears on `rtmatte run`."""

    GOOD = "good"
    NOTE = "note"  # works without it
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and what to do about it."""

    subject: str
    verdict: Verdict
    found: str
    fix: str = ""


def doctor() -> ExitCode:
    """Say what is missing on this machine, each with its fix; the exit code is 0 when nothing is."""
    say(f"rtmatte {rtmatte.__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    findings = [*_packages(), *_models(), *_backends(), *_cameras(), *_virtual_cameras(), *_programs(), *_preview()]
    colours = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}
    for finding in findings:
        out.print(f"[{colours[finding.verdict]}]{finding.verdict}[/]  {finding.subject}: ", end="")
        out.print(finding.found, markup=False)
        if finding.fix:
            out.print(f"      {finding.fix}", markup=False)
    bad = sum(finding.verdict is Verdict.BAD for finding in findings)
    say(f"{bad} of {len(findings)} things to fix" if bad else "healthy")
    return ExitCode.BAD_INPUT if bad else ExitCode.DONE


def _packages() -> Iterator[Finding]:
    for wanted, rival in RIVALS:
        if machine.installed(wanted) and machine.installed(rival):
            fix = f"pip uninstall {wanted} {rival}, then pip install one of them"
            yield Finding("packages", Verdict.BAD, f"{wanted} and {rival} overwrite each other", fix)


def _models() -> Iterator[Finding]:
    try:
        for model in models.listing():
            intact = sha256_of(models.FOLDER / model.file) == model.sha256
            found = f"{model}, {'intact' if intact else 'changed or damaged'}"
            fix = "" if intact else "pip install --force-reinstall --no-deps rtmatte"
            yield Finding("model", Verdict.GOOD if intact else Verdict.BAD, found, fix)
    except (RtmatteError, OSError) as error:
        yield Finding("model", Verdict.BAD, str(error), "pip install --force-reinstall --no-deps rtmatte")


def _backends() -> Iterator[Finding]:
    try:
        probes = machine.probe_backends()
    except RtmatteError as error:
        yield Finding("backend", Verdict.BAD, str(error), "pip install --force-reinstall --no-deps rtmatte")
        return
    works = any(probe.runs for probe in probes)
    for probe in probes:
        if probe.runs:
            yield Finding("backend", Verdict.GOOD, f"{probe.runs} passes its self-test")
        else:
            yield Finding("backend", Verdict.NOTE, f"{probe.name} does not run: {probe.reason}")
    if not works:
        yield Finding("backend", Verdict.BAD, "none runs the model", "pip install 'rtmatte[cpu]'")
    yield from _gpus(used=any(probe.runs and probe.name not in ("cpu", "openvino") for probe in probes))


def _gpus(*, used: bool) -> Iterator[Finding]:
    found = machine.gpus()
    if found and used:
        yield Finding("GPU", Verdict.GOOD, found[0])
        if (torch := machine.installed("torch")) is None or torch.endswith("+cpu"):
            fix = "to draw them on the GPU: pip install torch, in a build for CUDA"
            yield Finding("drawing", Verdict.NOTE, "composites are drawn on the CPU", fix)
    elif found:
        fix = "pip uninstall onnxruntime, then pip install 'rtmatte[gpu]'"
        yield Finding("GPU", Verdict.NOTE, f"{found[0]} is not used", fix)
    elif machine.idle_gpu():
        fix = "install NVIDIA's driver, then pip install 'rtmatte[gpu]'"
        yield Finding(
            "GPU", Verdict.NOTE, "one of NVIDIA's is there and has no driver: nvidia-smi does not answer", fix
        )
    else:
        fix = "lite is made for it. For larger models: a GPU of NVIDIA's and pip install 'rtmatte[gpu]'"
        yield Finding("GPU", Verdict.NOTE, "none of NVIDIA's: models run on the CPU", fix)


def _cameras() -> Iterator[Finding]:
    if not machine.names_cameras():
        return
    found = machine.cameras()
    for camera in found:
        if os.access(camera.device, os.R_OK | os.W_OK):
            yield Finding("camera", Verdict.GOOD, f"{camera.device} ({camera.name})")
        else:
            found_shut = f"{camera.device} ({camera.name}) may not be opened by this user"
            yield Finding("camera", Verdict.BAD, found_shut, JOIN_VIDEO)
    if not found:
        fix = "plug one in, or try a video file: rtmatte run --camera clip.mp4"
        yield Finding("camera", Verdict.BAD, "none", fix)


def _virtual_cameras() -> Iterator[Finding]:
    if machine.installed("pyvirtualcam") is None:
        yield Finding("virtual camera", Verdict.BAD, "pyvirtualcam is not installed", "pip install 'rtmatte[vcam]'")
    if not machine.names_cameras():
        yield Finding("virtual camera", Verdict.NOTE, "this system tells of none", HINTS.get(sys.platform, ""))
        return
    found = machine.virtual_cameras()
    labels = Counter(camera.label for camera in found)
    for camera in found:
        named = labels[camera.label] == 1 and not camera.label.startswith(UNNAMED)
        yield _virtual_camera(camera, named=named)
    if not found:
        yield from _no_virtual_camera(machine.loopback_module())


def _virtual_camera(camera: machine.VirtualCamera, *, named: bool) -> Finding:
    name, found = "virtual camera", f"{camera.device} ({camera.label})"
    if not os.access(camera.device, os.R_OK | os.W_OK):
        return Finding(name, Verdict.BAD, f"{found} may not be opened by this user", JOIN_VIDEO)
    if not camera.exclusive:
        return Finding(name, Verdict.BAD, f"{found} lacks exclusive_caps: browsers pass it over", RELOAD_MODULE)
    if not named:
        return Finding(name, Verdict.NOTE, f"{found} has a label that tells nobody what it is", RELOAD_MODULE)
    return Finding(name, Verdict.GOOD, found)


def _no_virtual_camera(module: machine.LoopbackModule) -> Iterator[Finding]:
    name = "virtual camera"
    if module.loaded:
        yield Finding(name, Verdict.BAD, "v4l2loopback is loaded and has no devices", RELOAD_MODULE)
    elif module.installed:
        yield Finding(name, Verdict.BAD, "v4l2loopback is not loaded", LOAD_MODULE)
    else:
        yield Finding(
            name, Verdict.BAD, f"v4l2loopback is not installed for this kernel, {platform.release()}", HINTS["linux"]
        )
    if not module.loaded and machine.secure_boot():
        yield Finding("Secure Boot", Verdict.NOTE, "is on: the kernel refuses a module that nobody signed", SIGN_MODULE)


def _programs() -> Iterator[Finding]:
    """Yields what keeps programs from seeing a virtual camera that is there."""
    if machine.names_cameras() and machine.pipewire():
        fix = "if one does not list the virtual camera while rtmatte runs: systemctl --user restart wireplumber"
        yield Finding("PipeWire", Verdict.NOTE, "runs, and some programs take their cameras from it", fix)
    for kind in machine.boxed_obs():
        yield Finding("OBS Studio", Verdict.NOTE, f"is a {kind} and may not see the virtual camera", UNBOX[kind])


def _preview() -> Iterator[Finding]:
    if machine.installed("pygame-ce") is None:
        yield Finding("preview window", Verdict.NOTE, "pygame-ce is not installed", "pip install 'rtmatte[preview]'")
