"""`rtmatte devices`: what can be named on the command line of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rtmatte import models
from rtmatte.cli import machine
from rtmatte.cli.console import out
from rtmatte.errors import ExitCode

UNLISTED = "this system does not list them; try --camera 0, 1, ..."


def devices() -> ExitCode:
    """List cameras, virtual cameras, models, backends and GPUs."""
    known = [(camera.device, camera.name) for camera in machine.cameras()]
    none = "none" if machine.names_cameras() else UNLISTED
    _show("cameras", known, none=none)
    _show("virtual cameras", [(camera.device, camera.label) for camera in machine.virtual_cameras()], none=none)
    _show("models", [(model.name, f"{model.width}x{model.height}") for model in models.listing()])
    _show("backends", [(probe.name, probe.runs or probe.reason) for probe in machine.probe_backends()])
    _show("NVIDIA GPUs", [(str(number), gpu) for number, gpu in enumerate(machine.gpus())])
    return ExitCode.DONE


def _show(title: str, rows: Sequence[tuple[str, str]], *, none: str = "none") -> None:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 3, 0, 2))
    for row in rows or [(none, "")]:
        table.add_row(*map(Text, row))  # a plain string would be read as markup, 'rtmatte[cpu]' too
    out.print(table)
