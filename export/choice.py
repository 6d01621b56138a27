"""Which convolutions an int8 graph can afford: those that cost least accuracy for the arithmetic they save.

Blocks of convolutions are put in int8 one at a time, and a step's error is measured. In the order of what they cost
they are then put together, as many as leave the step well within the tolerance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, shape_inference

from export.check import Drift, Startable, Tolerance, drift_of, error_of
from export.quantise import Quantiser
from export.rehearsal import Recorded, Recorder, improvise, rehearse
from export.scaling import shape_of
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import ALPHA, FRAME, GATES, MASK, Gates
from rtmatte.engine import open_engine
from rtmatte.errors import InputError, ModelError
from rtmatte.step import Engine
from rtmatte.targets.person import PersonTarget

ONE_STEP_IN_INT8 = Tolerance(5e-3)
CHECK_CALLS, CHECK_EVERY = 20, 2  # a seed, settling, ordinary frames, stores, from most of the clip
MADE = 24  # made pictures that ranges are taken of; as many calls as of the clip are checked of those that follow
ROOM = 0.9  # of the tolerance is for the calls that blocks are chosen by: on others the choice is off by more
RANKED = 4  # every so many calls serve to rank the blocks: some ten graphs are made and run for that
FEW = 32  # channels: a block whose main convolution takes or gives fewer is no faster in int8
LEAST = 1e-2  # of the multiplications: blocks of fewer stay in float32 unless all may go


def quantise_checked(graph: Path, clip: str | Path, *, within: float = ONE_STEP_IN_INT8.mean) -> Path:
    """Returns the int8 graph that it writes beside `graph`, calibrated on `clip`; says what it wrote and how far off.

    The ranges of maps take in those of made pictures, so that what the clip has not shown is not cut off either.
    `within` is the mean error that a step may have: the larger, the more is in int8, and the faster. The person of the
    clip is found by lite. Raises SourceError or InputError for a clip that will not do, ModelError for a graph in half
    precision, or when a step in int8 is too far from float32; the file is left for inspection.
    """
    tolerance = tolerance_of(within)
    recorder = Recorder(graph)
    finder: Engine = recorder if recorder.contract.model == "lite" else open_engine("lite")

    def rehearsed() -> Iterator[Recorded]:
        return rehearse(recorder, clip, PersonTarget(finder))

    path = graph.with_name(f"{graph.stem}-int8.onnx")
    with Quantiser(graph, chain(rehearsed(), improvise(recorder, frames=MADE))) as quantiser:
        checks = CHECK_CALLS * CHECK_EVERY
        checked = [*islice(rehearsed(), 0, checks, CHECK_EVERY)]
        checked += islice(improvise(recorder, frames=MADE + checks), MADE, None, CHECK_EVERY)
        choice = choose(quantiser, checked, tolerance)
        quantiser.write(path, floating=choice.floating)
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, calibrated on {clip}")
    print(
        f"{choice.share:.0%} of the convolutions' arithmetic is in int8; against float32, step by step, {choice.drift}"
    )
    if not choice.drift.within(tolerance):
        raise ModelError(f"{path} is too far from its float32 graph; calibrate it on a clip more like its use")
    return path


def tolerance_of(within: float) -> Tolerance:
    """Returns the tolerance of a mean error in 0..1 of the alpha; InputError for one that makes no sense."""
    if not 0 < within <= 1:
        raise InputError(f"expected a mean error of the alpha above 0 and up to 1, found {within:g}; 5e-3 is usual")
    return Tolerance(within)


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions that are in int8 together or not at all: those of one module's branches, or of its shortcuts.

    A branch is added to the signal; 1x1 convolutions outside of branches are the way of the signal itself, which is
    dear to round, and take as long in int8 as in float32, for it is their maps that take the time. So do convolutions
    of few channels: those have the largest maps, and leave the int8 product half empty.
    """

    name: str
    convolutions: tuple[str, ...]
    products: int  # multiplications of a step
    seen: bool  # whether a step's own alpha depends on it; else only the next state does
    worth: bool = True  # whether int8 is faster


def blocks_of(plain: ModelProto) -> list[Block]:
    """Returns the blocks of a graph in its order; its shapes are static, its weights constants named as in PyTorch."""
    graph = shape_inference.infer_shapes(plain).graph
    shapes = {value.name: shape_of(value) for value in (*graph.value_info, *graph.output)}
    sizes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in plain.graph.initializer}
    before_alpha = _before(plain, ALPHA)

    def products(convolution: NodeProto) -> int:
        return prod(sizes[convolution.input[1]][1:]) * prod(shapes[convolution.output[0]])

    members: dict[str, list[NodeProto]] = defaultdict(list)
    for node in plain.graph.node:
        if node.op_type == "Conv":
            weight = node.input[1]
            kernel = "x".join(map(str, sizes[weight][2:]))
            members[f"{_module(weight)} {'branch' if _in_branch(weight) else kernel}"].append(node)
    blocks = []
    for name, nodes in members.items():
        names, largest = tuple(node.name for node in nodes), max(nodes, key=products)
        worth = not name.endswith(" 1x1") and min(sizes[largest.input[1]][:2]) >= FEW
        blocks.append(Block(name, names, sum(map(products, nodes)), not before_alpha.isdisjoint(names), worth))
    return blocks


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found: the convolutions that stay in float32, the share of the multiplications in int8, the error."""

    floating: frozenset[str]
    share: float
    drift: Drift


def choose(quantiser: Quantiser, calls: Sequence[Recorded], tolerance: Tolerance) -> Choice:
    """Returns the choice that brings the steps of `calls` within `tolerance` with most of the arithmetic in int8.

    It is as many of the blocks, cheapest first, as leave the error within a part of the tolerance. Blocks are ranked by
    the median of a call's error: on untrained weights most of a mean is that of one call in ten, in which a token falls
    on the other side of a mask, by chance.
    """
    blocks, room = blocks_of(quantiser.plain), Tolerance(ROOM * tolerance.mean)
    total = sum(block.products for block in blocks)

    def tried(taken: Collection[Block], on: Sequence[Recorded] = calls) -> Choice:
        floating = frozenset(name for block in blocks if block not in taken for name in block.convolutions)
        share = sum(block.products for block in taken) / total
        return Choice(floating, share, measure_calls(OrtEngine(quantiser.draft(floating=floating)), on))

    best = tried(blocks)
    if best.drift.within(tolerance):
        return best
    few = calls[-1::-RANKED][::-1]
    free = [block for block in blocks if block.worth and not block.seen]
    candidates = [block for block in blocks if block.seen and block.worth and block.products >= LEAST * total]
    errors = {block.name: float(np.median(tried([block], few).drift.means)) for block in candidates}
    ranked = by_cost(candidates, errors)
    for count in range(len(ranked), -1, -1):
        best = tried([*free, *ranked[:count]])
        if best.drift.within(room):
            break
    return best


def by_cost(blocks: Iterable[Block], errors: Mapping[str, float]) -> list[Block]:
    """Returns the blocks, cheapest for what they save first; errors of many add up like independent noise."""
    return sorted(blocks, key=lambda block: errors[block.name] ** 2 / block.products)


def measure_calls(engine: Startable, calls: Iterable[Recorded]) -> Drift:
    """Returns the error of single steps of `engine` from the states and against the alphas of `calls`."""
    errors = []
    for call in calls:
        gates = Gates(*(call.given[name] for name in GATES))
        alpha, _ = engine.step(call.given[FRAME], call.given[MASK], gates, engine.state_of(call.given))
        errors.append(error_of(alpha, call.alpha))
    if not errors:
        raise InputError("expected calls to compare, found none")
    return drift_of(errors)


def _in_branch(weight: str) -> bool:
    """Returns whether a weight is that of a numbered convolution, `conv1` and so on, as residual blocks have them."""
    name = weight.removesuffix(".weight").rpartition(".")[2]
    return name.startswith("conv") and name.removeprefix("conv").isdigit()


def _module(weight: str) -> str:
    """Returns the module that a convolution belongs to by its weight's name: `a.stage` of `a.stage.2.conv1.weight`."""
    parts = _without_numbers(weight.removesuffix(".weight").split("."))
    return ".".join(_without_numbers(parts[:-1])) or weight


def _without_numbers(parts: list[str]) -> list[str]:
    """Returns a path of modules without the numbers at its end: places in a list or a sequence."""
    while parts and parts[-1].isdigit():
        parts = parts[:-1]
    return parts


def _before(model: ModelProto, result: str) -> set[str]:
    """Returns the names of the nodes that a result depends on."""
    made = {output: node for node in model.graph.node for output in node.output}
    waiting, found = [result], set()
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return found
