"""Builds, describes and checks TensorRT plans by name.

python -m engines build lite-288p                                            a bundled graph, for RTX 30, 40 and 50
python -m engines build matanyone-720p --weights matanyone.pth --split       exported first, as head and tail
python -m engines inspect engines/plans/lite-512x288-rtx-sm86-sm89-sm120.plan
python -m engines verify PLAN --onnx MODEL.onnx --frames 300                 needs the GPU the plan was built for
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from engines import recipes, report
from engines.recipes import Recipe
from engines.verify import FRAMES, SAME_NETWORK, verify
from export.__main__ import Order, export_checked
from rtmatte.cuda import Gpu, find_gpu
from rtmatte.errors import BackendMissing, ExitCode, InputError, ModelError, RtmatteError
from rtmatte.network.checkpoint import Variant
from rtmatte.plan.api import RUNTIMES, open_api
from rtmatte.plan.build import aim, build_plan, graphs_of, plan_name
from rtmatte.plan.sidecar import check_owner, read_sidecar


def graph_of(recipe: Recipe, weights: Path | None, folder: Path) -> Path:
    """Returns the recipe's first ONNX file: the bundled one, else the one exported from `weights` into `folder`."""
    bundled = recipe.bundled() if weights is None else None
    if bundled is not None:
        return bundled
    if weights is None:
        raise InputError(f"{recipe.stem} does not ship with the package; name a checkpoint: --weights FILE")
    order = Order(weights, recipe.size, batch=recipe.batch, variant=recipe.variant)
    paths = []
    for part in recipe.parts:
        path = folder / f"{recipe.stem}{'' if part == 'step' else f'-{part}'}.onnx"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        export_checked(replace(order, part=part), path)
        paths.append(path)
    return paths[0]


def main() -> int:
    """Does what the command line asks for and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="build|inspect|verify")
    _add_build(verbs.add_parser("build", help="ONNX or checkpoint to plan and sidecar"))
    inspect = verbs.add_parser("inspect", help="what a plan is made of")
    inspect.add_argument("plan", type=Path)
    inspect.set_defaults(run=_inspect)
    check = verbs.add_parser("verify", help="a plan against ONNX Runtime, free-running")
    check.add_argument("plan", type=Path)
    check.add_argument("--onnx", type=Path, required=True, help="the graph the plan was built from")
    check.add_argument("--frames", type=int, default=FRAMES, help=f"(default: {FRAMES})")
    check.set_defaults(run=_verify)
    given = parser.parse_args()
    try:
        given.run(given)
    except RtmatteError as error:
        print(f"engines: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help=", ".join(recipes.RECIPES))
    parser.add_argument("--weights", type=Path, help="checkpoint to export; default: the graph in the package")
    parser.add_argument("--batch", type=int, default=1, help="rows of a step: 1, 2, 4 or 8 (default: 1)")
    parser.add_argument("--variant", choices=get_args(Variant), help="MatAnyone's (default: fast-fp16)")
    parser.add_argument("--split", action="store_true", help="MatAnyone's: head and tail, so that alphas leave early")
    parser.add_argument("--runtime", choices=RUNTIMES, default="rtx", help="(default: rtx)")
    parser.add_argument("--target", default="", help="as sm86,sm89; default: RTX 30, 40, 50; TensorRT: the GPU here")
    parser.add_argument("--output", type=Path, default=recipes.FOLDER, help=f"(default: {recipes.FOLDER})")
    parser.set_defaults(run=_build)


def _build(given: argparse.Namespace) -> None:
    recipe = recipes.find(given.recipe, batch=given.batch, variant=given.variant, split=given.split)
    api = open_api(given.runtime)
    asked = tuple(filter(None, given.target.split(","))) or (recipes.TARGETS if api.targets else ())
    goal = aim(api, _gpu_here(), asked)
    for graph in graphs_of(graph_of(recipe, given.weights, given.output)):
        plan = given.output / plan_name(graph, api, goal)
        sidecar = build_plan(graph, plan, api=api, aim=goal)
        print(*report.lines(plan, sidecar), sep="\n")
        if refused := report.refused_layers(sidecar):
            raise ModelError(
                f"{graph} has layers that cannot be captured: {', '.join(refused)}; export it without them"
            )


def _inspect(given: argparse.Namespace) -> None:
    check_owner(given.plan)
    print(*report.lines(given.plan, read_sidecar(given.plan)), sep="\n")


def _verify(given: argparse.Namespace) -> None:
    drift = verify(given.plan, given.onnx, frames=given.frames)
    print(drift)
    if not drift.within(SAME_NETWORK):
        raise ModelError(f"{given.plan} is not the network of {given.onnx}; do not use it")


def _gpu_here() -> Gpu | None:
    try:
        return find_gpu()
    except BackendMissing:
        return None


if __name__ == "__main__":
    sys.exit(main())
