"""What a command says and where: results on stdout, everything else on stderr, one line for each thing."""

from __future__ import annotations

import sys

from rich.console import Console

# Highlighting would colour every number of a calm line, and wrapping would cut a path in two.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Prints a line of result."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints a line about something the user should know, which does not stop the work."""
    print(f"rtmatte: warning: {text}", file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Prints the line that says why a command ends."""
    print(f"rtmatte: {text}", file=sys.stderr, flush=True)
