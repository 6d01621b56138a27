"""What TensorRT for RTX compiles for the GPU at hand when it first runs a plan, kept beside the plan for next time.

It is machine code, so it is read under the rules of plans; the library itself refuses what another GPU or driver made.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from rtmatte.errors import PlanError
from rtmatte.plan.sidecar import check_owner, write_whole


def kernels_path(plan: Path) -> Path:
    """Returns where the compiled kernels of a plan are."""
    return plan.with_name(plan.name + ".kernels")


class Kernels:
    """The runtime cache of one plan, filled from its file when it is made, and saved to it."""

    def __init__(self, path: Path, config: Any) -> None:
        """`config` is the library's IRuntimeConfig, which uses the cache from here on."""
        self._path = path
        self._cache = config.create_runtime_cache()
        self._saved = _read(path)
        if self._saved:
            self._cache.deserialize(self._saved)
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Writes what was compiled since, if anything; a folder that cannot be written costs time, nothing else."""
        content = bytes(self._cache.serialize() or b"")
        if content and content != self._saved:
            with suppress(OSError):
                write_whole(self._path, content)
            self._saved = content


def _read(path: Path) -> bytes:
    """Returns what the file holds; nothing where there is none, or others could have written it."""
    with suppress(OSError, PlanError):
        for each in (path.parent, path):
            check_owner(each)
        return path.read_bytes()
    return b""
