"""Checkpoints: how they are written, what one of lite holds, and what the commands that make one of others share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtmatte.errors import ExitCode, RtmatteError
from rtmatte.network.lite import Lite


def packed(net: Lite, weights: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Returns what a checkpoint of `net` holds: its widths, and its own weights or others of the same form."""
    return {"widths": net.widths.to_dict(), "net": net.state_dict() if weights is None else weights}


def write_then_rename(content: dict[str, Any], path: Path) -> None:
    """Writes `content` to `path` so that a killed process leaves the old file or the new one, never half of it."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Returns the parser of a command that makes a checkpoint: it knows `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    return parser


def write_made(make: Callable[[], Lite], out: Path, *, command: str) -> ExitCode:
    """Writes the network that `make` returns to `out`; returns the exit code of `command`.

    An RtmatteError or a ValueError of `make` is told in one line, and nothing is written.
    """
    try:
        net = make()
    except (RtmatteError, ValueError) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    write_then_rename(packed(net), out)
    return ExitCode.DONE
