"""What every benchmark's command line shares: its JSON, with the machine in it, and errors told in one line."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer

from benchmarks.machine import describe
from rtmatte.errors import ExitCode, RtmatteError, SinkError

_NUMBERS = re.compile(r"\[[^][{}\"]*\]")  # a list of numbers in indented JSON


def run(benchmark: Callable[..., None]) -> NoReturn:
    """Runs a typer command and exits: 2 with one line on stderr for an error of ours, else typer's own code."""
    try:
        typer.run(benchmark)
    except RtmatteError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(ExitCode.BAD_INPUT)
    sys.exit(ExitCode.DONE)


def command_line(module: str, arguments: list[str]) -> str:
    """Returns the command that makes a report again, absolute paths cut to their last part: they differ elsewhere."""
    short = [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]
    return shlex.join(["python", "-m", module, *short])


def write_json(path: Path, module: str, body: Mapping[str, Any]) -> None:
    """Writes `body` with the command and the machine to `path`, all or nothing; SinkError when it cannot."""
    report = {"command": command_line(module, sys.argv[1:]), "machine": describe(), **body}
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(_NUMBERS.sub(_on_one_line, json.dumps(report, indent=1)) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write the report {path}: {error.strerror}; name another with --json") from error


def rounded(scores: Mapping[str, float], digits: int = 3) -> dict[str, float]:
    """Returns the scores, rounded for people and for small files."""
    return {name: round(value, digits) for name, value in scores.items()}


def _on_one_line(numbers: re.Match[str]) -> str:
    return " ".join(numbers[0].split())
