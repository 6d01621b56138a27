"""The errors of rtmatte, as one tree, and the exit codes of its commands.

RtmatteError
├── InputError (ValueError)         the user's input, options or files
│   ├── MaskError                   a mask that is empty, unreadable or of the wrong kind
│   ├── SourceError                 a camera, file or folder that cannot be opened or read
│   │   ├── SourceGone              it is not there, or was unplugged
│   │   ├── SourceBusy              another program has it
│   │   ├── SourceDenied            this user may not open it
│   │   └── SourceTruncated         it ended before its declared end; what came before was delivered
│   └── SinkError                   an output that cannot be opened or written
├── ModelError                      a model file that cannot be used
│   ├── ContractError (ValueError)  no contract, unknown version, or tensors that differ from it
│   └── UntrustedModelError         its sha256 is not in the manifest and the user did not say to trust it
├── BackendError                    no backend can run the model; lists every backend's reason
│   ├── BackendMissing (ImportError)  a package is not installed; names the extra
│   ├── PlanMissing                 a TensorRT plan is not built yet; knows how to build it
│   └── PlanError                   a TensorRT plan that is damaged, for another GPU or version, or not the user's own
├── EngineError                     a step failed while running
│   └── StateConsumed               a recurrent state was used twice
├── EnvironmentFault                the machine lacks something; the message has the line that fixes it
└── StopRequested                   the user closed the window: no fault, the run ends in order

A message says what was expected, what was found, and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command returns to the shell."""

    DONE = 0
    FAULT = 1  # a mistake in rtmatte itself; its report is one line, the traceback on request
    BAD_INPUT = 2  # bad input, options or environment
    INCOMPLETE = 3  # finished, but the input was truncated or some of many failed
    INTERRUPTED = 130  # SIGINT, outputs finalised
    TERMINATED = 143  # SIGTERM, outputs finalised


class RtmatteError(Exception):
    """Any error that rtmatte raises on purpose; its text is fit to be shown to a user."""


class InputError(RtmatteError, ValueError):
    """The user's input, options or files cannot be used."""


class MaskError(InputError):
    """A mask is empty, unreadable or of the wrong kind."""


class SourceError(InputError):
    """A camera, file or folder cannot be opened or read."""


class SourceGone(SourceError):
    """A camera is not there, or no longer."""


class SourceBusy(SourceError):
    """Another program has the camera."""


class SourceDenied(SourceError):
    """This user may not open the camera."""


class SourceTruncated(SourceError):
    """The input ended before its declared end; every frame before that was delivered."""


class SinkError(InputError):
    """An output cannot be opened or written."""


class ModelError(RtmatteError):
    """A model file cannot be used."""


class ContractError(ModelError, ValueError):
    """A model has no contract, one of an unknown version, or tensors that differ from it."""


class UntrustedModelError(ModelError):
    """A model's sha256 is unknown and the user did not say to trust it."""


class BackendError(RtmatteError):
    """No backend can run the model."""


class BackendMissing(BackendError, ImportError):
    """A backend's package is not installed."""


class PlanMissing(BackendError):
    """A TensorRT plan is not built yet. `build` builds it, in seconds where it is `quick`, else in minutes."""

    def __init__(self, message: str, build: Callable[[], object], *, quick: bool) -> None:
        super().__init__(message)
        self.build = build
        self.quick = quick


class PlanError(BackendError):
    """A TensorRT plan is damaged, was built for another GPU or version, or others could have written it."""


class EngineError(RtmatteError):
    """A step failed while running."""


class StateConsumed(EngineError):
    """A recurrent state was used twice: its buffers hold a later frame's state by now."""


class EnvironmentFault(RtmatteError):
    """The machine lacks a device, module, driver or permission; the message has the line that fixes it."""


class StopRequested(RtmatteError):
    """The user asked for the end from inside an output, by closing its window; outputs are finished, nothing failed."""


def first_line(error: Exception) -> str:
    """Returns what a library's error says, in one line: the first of its text, else what kind of error it is."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
