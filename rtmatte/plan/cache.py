"""The user's own folder of plans, each found by a key of everything that it depends on.

A plan is written under another name and renamed, under a lock that ends with its process, so two processes build it
once and nobody sees half of one. The plans used longest ago go when the folder grows beyond its limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rtmatte.contract import VERSION, read_contract
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendError, PlanError
from rtmatte.modelfile import sha256_of
from rtmatte.plan.api import Api, Progress
from rtmatte.plan.build import aim, build_plan, options_of
from rtmatte.plan.kernels import kernels_path
from rtmatte.plan.sidecar import SUFFIX, Sidecar, check_owner, read_plan, read_sidecar, sidecar_path

LIMIT_BYTES = 8 << 30
_KEY_LETTERS = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One plan of the cache: its file, its size and what lies beside it, and the file system's time of its last use."""

    plan: Path
    nbytes: int
    used_at: float


class PlanCache:
    """The plans in one folder, made for this user alone."""

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder or default_folder()
        self._limit_bytes = limit_bytes

    def path_of(self, onnx: Path, api: Api, gpu: Gpu) -> Path:
        """Returns where the plan of an ONNX file for this library and GPU is, or would be."""
        contract = read_contract(onnx)
        parts = {
            "onnx": sha256_of(onnx),
            "contract": VERSION,
            "runtime": [api.runtime, api.version],
            "gpu": [gpu.name, gpu.target, gpu.driver // 1000],
            "shape": [*contract.size, contract.batch, contract.slots],
            "options": options_of(contract.variant),
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_KEY_LETTERS]
        return self.folder / f"{onnx.stem}-{key}{SUFFIX}"

    def find(self, onnx: Path, api: Api, gpu: Gpu) -> tuple[Sidecar, bytes] | None:
        """Returns the cached plan of an ONNX file, checked, or None where there is none that can be used.

        PlanError when others could have written into the folder.
        """
        plan = self.path_of(onnx, api, gpu)
        if not plan.exists():
            return None
        check_owner(self.folder)
        try:
            found = read_plan(plan, runtime=api.runtime, version=api.version, gpu=gpu, onnx_sha256=sha256_of(onnx))
        except PlanError:
            return None  # to be built again, over whatever it is
        os.utime(plan)
        return found

    def obtain(self, onnx: Path, api: Api, gpu: Gpu, *, progress: Progress | None = None) -> tuple[Sidecar, bytes]:
        """Returns the plan of an ONNX file, built if need be; errors as `find` and `build_plan`."""
        found = self.find(onnx, api, gpu)
        if found is not None:
            return found
        plan = self.path_of(onnx, api, gpu)
        self._make_folder()
        with _locked(plan.with_suffix(".lock")):
            found = self.find(onnx, api, gpu)  # another process may have built it meanwhile
            if found is not None:
                return found
            build_plan(onnx, plan, api=api, aim=aim(api, gpu), progress=progress)
        self._trim(keep=plan)
        return read_plan(plan, runtime=api.runtime, version=api.version, gpu=gpu, onnx_sha256=sha256_of(onnx))

    def entries(self) -> list[Entry]:
        """Returns every plan of the cache, the last used first."""
        entries = []
        for plan in self.folder.glob(f"*{SUFFIX}"):
            status = plan.stat()
            beside = sum(path.stat().st_size for path in _beside(plan) if path.exists())
            entries.append(Entry(plan, status.st_size + beside, status.st_mtime))
        return sorted(entries, key=lambda entry: entry.used_at, reverse=True)

    def clear(self) -> int:
        """Removes every plan, and what an interrupted build left; returns the bytes that were freed."""
        freed = sum(entry.nbytes for entry in self.entries())
        for pattern in (f"*{SUFFIX}", f"*{SUFFIX}.*", "*.lock"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        return freed

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BackendError(f"cannot make the plan cache {self.folder}: {error.strerror or error}") from error
        check_owner(self.folder)

    def _trim(self, keep: Path) -> None:
        total = 0
        for entry in self.entries():
            total += entry.nbytes
            if total > self._limit_bytes and entry.plan != keep:
                for path in (entry.plan, *_beside(entry.plan)):
                    path.unlink(missing_ok=True)


def _beside(plan: Path) -> tuple[Path, ...]:
    return sidecar_path(plan), kernels_path(plan)


def default_folder() -> Path:
    """Returns where this platform keeps what a program of this user can make again."""
    system = platform.system()
    if system == "Windows":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "rtmatte", "plans")
    if system == "Darwin":
        return Path.home() / "Library" / "Caches" / "rtmatte" / "plans"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rtmatte", "plans")


def describe(entry: Entry) -> str:
    """Returns a line about a cached plan: what it is of, for which GPU, by which library."""
    try:
        sidecar = read_sidecar(entry.plan)
    except PlanError:
        return f"{entry.plan.name}: damaged, will be built again when needed"
    width, height = sidecar.contract.size
    made_for = sidecar.gpu or ", ".join(sidecar.targets)
    return (
        f"{entry.plan.name}: {sidecar.contract.model} {width}x{height}, {sidecar.contract.batch} a batch, "
        f"for {made_for}, {sidecar.runtime} {sidecar.runtime_version}, {entry.nbytes / 1e6:.1f} MB"
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """While inside, no other process is. The lock goes with the process, however it ends; the empty file stays."""
    with path.open("wb") as file:
        if sys.platform == "win32":
            import msvcrt

            file.write(b"\0")  # there must be a byte to lock
            file.seek(0)
            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # it gives up after ten tries, a second apart; a build may take longer
                    continue
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
