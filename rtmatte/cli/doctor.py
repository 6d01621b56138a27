"""`rtmatte doctor`: what is missing for a camera to become a virtual camera here, and the line that fixes it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import rtmatte
from rtmatte import models
from rtmatte.cli import machine
from rtmatte.cli.console import out, say
from rtmatte.errors import ExitCode, RtmatteError
from rtmatte.modelfile import sha256_of
from rtmatte.sinks.virtualcam import HINTS, LOAD_MODULE

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
    findings = [*_packages(), *_models(), *_backends(), *_cameras(), *_virtual_cameras(), *_preview()]
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
    if machine.gpus() and not any(probe.runs and probe.name not in ("cpu", "openvino") for probe in probes):
        fix = "pip uninstall onnxruntime, then pip install 'rtmatte[gpu]'"
        yield Finding("GPU", Verdict.NOTE, f"{machine.gpus()[0]} is not used", fix)


def _cameras() -> Iterator[Finding]:
    if not machine.names_cameras():
        return
    found = machine.cameras()
    for camera in found:
        if os.access(camera.device, os.R_OK | os.W_OK):
            yield Finding("camera", Verdict.GOOD, f"{camera.device} ({camera.name})")
        else:
            fix = "sudo usermod -aG video $USER, then log out and in again"
            yield Finding("camera", Verdict.BAD, f"{camera.device} ({camera.name}) may not be opened by this user", fix)
    if not found:
        fix = "plug one in, or try a video file: rtmatte run --camera clip.mp4"
        yield Finding("camera", Verdict.BAD, "none", fix)


def _virtual_cameras() -> Iterator[Finding]:
    if machine.installed("pyvirtualcam") is None:
        yield Finding("virtual camera", Verdict.BAD, "pyvirtualcam is not installed", "pip install 'rtmatte[vcam]'")
    if not machine.names_cameras():
        return
    found = machine.virtual_cameras()
    for camera in found:
        name = f"{camera.device} ({camera.label})"
        if not os.access(camera.device, os.R_OK | os.W_OK):
            fix = "sudo usermod -aG video $USER, then log out and in again"
            yield Finding("virtual camera", Verdict.BAD, f"{name} may not be opened by this user", fix)
        elif camera.exclusive:
            yield Finding("virtual camera", Verdict.GOOD, name)
        else:
            fix = f"sudo modprobe -r v4l2loopback && {LOAD_MODULE}"
            yield Finding("virtual camera", Verdict.BAD, f"{name} lacks exclusive_caps: browsers pass it over", fix)
    if not found:
        yield Finding("virtual camera", Verdict.BAD, "none", HINTS["linux"])


def _preview() -> Iterator[Finding]:
    if machine.installed("pygame-ce") is None:
        yield Finding("preview window", Verdict.NOTE, "pygame-ce is not installed", "pip install 'rtmatte[preview]'")
