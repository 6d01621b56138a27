"""The command `rtmatte`: one module a verb. Here an argument list becomes a verb's call, and whatever goes wrong one
line on stderr and an exit code of `errors.ExitCode`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from rtmatte.cli import bench, build, demo, devices, doctor, file, run, serve
from rtmatte.cli.console import complain
from rtmatte.errors import ExitCode, RtmatteError, SourceTruncated

DEBUG_VARIABLE = "RTMATTE_DEBUG"

app = typer.Typer(
    help="Cut a person out of a live picture, and put them in front of another background.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo.demo, run.run, serve.serve, file.file, build.build, bench.bench, devices.devices, doctor.doctor):
    app.command()(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (the process's own by default) and returns the exit code; never raises an error.

    SIGTERM leaves as SystemExit(143) after every output was finalised.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with _terminable():
            code = app(given, prog_name="rtmatte", standalone_mode=False)
    except typer.TyperException as error:
        return _ended(error, _usage_line(error), ExitCode.BAD_INPUT)
    except SourceTruncated as error:
        return _ended(error, str(error), ExitCode.INCOMPLETE)
    except RtmatteError as error:
        return _ended(error, str(error), ExitCode.BAD_INPUT)
    except MemoryError as error:
        return _ended(
            error, f"not enough memory: {error or 'nothing is left'}; take a smaller size", ExitCode.BAD_INPUT
        )
    except Exception as error:
        line = f"a mistake in rtmatte: {type(error).__name__}: {error}; {DEBUG_VARIABLE}=1 shows where"
        return _ended(error, line, ExitCode.FAULT)
    return int(code or ExitCode.DONE)


def _ended(error: Exception, line: str, code: ExitCode) -> ExitCode:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    complain(line)
    return code


def _usage_line(error: typer.TyperException) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "rtmatte")
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


@contextmanager
def _terminable() -> Iterator[None]:
    """While inside, SIGTERM unwinds the stack, so that outputs are finalised, as Ctrl-C does by itself."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(ExitCode.TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
