"""`rtmatte build`: a model becomes a TensorRT plan, for the GPU that is here or for others."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import Progress

from rtmatte.cli.console import err, say, warn
from rtmatte.cli.line import DEFAULT_MODEL
from rtmatte.cuda import Gpu, find_gpu
from rtmatte.engine import check_hash, locate, open_engine, self_test
from rtmatte.errors import BackendMissing, ExitCode, InputError
from rtmatte.imaging import parse_size
from rtmatte.plan.api import RUNTIMES, Api, open_api
from rtmatte.plan.api import Progress as Report
from rtmatte.plan.build import aim, build_plan, graphs_of, plan_name
from rtmatte.plan.cache import PlanCache, describe
from rtmatte.plan.sidecar import Sidecar, with_self_test


class Library(StrEnum):
    """What builds: TensorRT, TensorRT for RTX, or whichever of them is installed, in this order."""

    AUTO = "auto"
    TENSORRT = "tensorrt"
    RTX = "rtx"


def build(
    model: Annotated[str, typer.Argument(help="A bundled model's name or an ONNX file.")] = DEFAULT_MODEL,
    size: Annotated[str | None, typer.Option(help="Width x height of the frames, to choose a bundled graph.")] = None,
    target: Annotated[str, typer.Option(help="GPUs to build for, as sm86,sm89,sm120; default: the one here.")] = "",
    runtime: Annotated[Library, typer.Option(help="The library that builds and will run it.")] = Library.AUTO,
    output: Annotated[Path | None, typer.Option(help="Folder for the plan; default: your plan cache.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Build a model file although its hash is wrong.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the plans of the cache and end.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the plans of the cache and end.")] = False,
) -> ExitCode:
    """Build a TensorRT plan of a model. Without --output it is for this machine, and used from the next start on."""
    cache = PlanCache()
    if list_ or clear:
        return _keep_house(cache, clear=clear)
    path = locate(model, parse_size(size) if size else None)
    check_hash(path, trust=trust, say=warn)
    targets = tuple(name.strip().lower() for name in target.split(",") if name.strip())
    if output is None and targets:
        raise InputError("plans for chosen targets are not kept in the cache; name a folder: --output DIR")
    api = _open_library(runtime, targets)
    if output is None:
        _build_here(path, api, find_gpu(), cache)
    else:
        _build_into(output, path, api, targets)
    return ExitCode.DONE


def _build_here(path: Path, api: Api, gpu: Gpu, cache: PlanCache) -> None:
    for graph in graphs_of(path):
        with _bar() as bar:
            sidecar, _ = cache.obtain(graph, api, gpu, progress=_reporter(bar, graph.name))
        say(f"{cache.path_of(graph, api, gpu)}: {_summary(sidecar)}")
    say(_prove(path, api, cache.path_of(path, api, gpu)))


def _build_into(folder: Path, path: Path, api: Api, targets: tuple[str, ...]) -> None:
    goal = aim(api, _gpu_here(), targets)
    for graph in graphs_of(path):
        plan = folder / plan_name(graph, api, goal)
        with _bar() as bar:
            sidecar = build_plan(graph, plan, api=api, aim=goal, progress=_reporter(bar, graph.name))
        say(f"{plan}: {_summary(sidecar)}")


def _keep_house(cache: PlanCache, *, clear: bool) -> ExitCode:
    if clear:
        say(f"{cache.clear() / 1e6:.1f} MB of plans removed from {cache.folder}")
        return ExitCode.DONE
    entries = cache.entries()
    say(f"{cache.folder}: {len(entries)} plans, {sum(entry.nbytes for entry in entries) / 1e6:.1f} MB")
    for entry in entries:
        say(describe(entry))
    return ExitCode.DONE


def _open_library(asked: Library, targets: tuple[str, ...]) -> Api:
    """Returns the library that was asked for, or the first that is installed and can do it."""
    able = tuple(name for name in RUNTIMES if asked in (Library.AUTO, name))
    if asked is Library.AUTO and targets:
        able = ("rtx",)  # TensorRT builds for no other GPU than the one here
    reasons = []
    for name in able:
        try:
            return open_api(name)
        except BackendMissing as error:
            reasons.append(str(error))
    raise BackendMissing(" | ".join(reasons))


def _gpu_here() -> Gpu | None:
    try:
        return find_gpu()
    except BackendMissing:
        return None


def _bar() -> Progress:
    return Progress(console=err, transient=True, disable=not err.is_terminal)


def _reporter(bar: Progress, name: str) -> Report:
    task = bar.add_task(f"building {name}", total=1.0)

    def report(phase: str, share: float) -> None:
        bar.update(task, completed=share, description=f"{name}: {phase.lower()}")

    return report


def _summary(sidecar: Sidecar) -> str:
    width, height = sidecar.contract.size
    made_for = sidecar.gpu or ", ".join(sidecar.targets)
    return (
        f"{sidecar.contract.model} {sidecar.contract.role} {width}x{height} for {made_for}, "
        f"{sidecar.plan_bytes / 1e6:.1f} MB, built in {sidecar.seconds:.0f} s"
    )


def _prove(path: Path, api: Api, plan: Path) -> str:
    """Runs the self-test with the plan, notes the outcome in the sidecar, and returns a line about it."""
    with closing(open_engine(path, backend=api.runtime, trust=True)) as engine:
        expected = engine.contract.self_test
        if not expected:
            return f"{engine.backend} runs it; the model brings no self-test"
        worst = float(np.abs(np.array(self_test(engine)) - np.array(expected)).max())
        with_self_test(plan, round(worst, 6))
        return f"{engine.backend} passes the self-test, {worst:.1e} off at most"
