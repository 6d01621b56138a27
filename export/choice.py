"""Which convolutions an int8 graph can afford: those that cost least accuracy for the arithmetic they save.

What is no faster in int8 stays in float32. All other blocks are put in int8 one at a time, and a step's error is
measured. In the order of what they cost they are then put together, as many as leave the step within the tolerance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto

from export.check import Drift, Startable, Tolerance, drift_of, error_of
from export.comparisons import Comparisons
from export.quantise import Quantiser
from export.rehearsal import Recorded, Recorder, improvise, rehearse
from export.wiring import nodes_before, shapes
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import ALPHA, FRAME, GATES, MASK, Gates
from rtmatte.engine import open_engine
from rtmatte.errors import InputError, ModelError
from rtmatte.step import Engine
from rtmatte.targets.person import PersonTarget

ONE_STEP_IN_INT8 = Tolerance(5e-3)
CHECK_CALLS, CHECK_EVERY = 20, 2  # a seed, settling, ordinary frames, stores, from most of the clip
MADE = 24  # made pictures that ranges are taken of; as many calls as of the clip are checked of those that follow
ROOM = 0.95  # of the tolerance is what a choice may be expected to be off by: on other pictures it is off by more
RANKED = 4  # every so many calls serve to rank the blocks: some twenty graphs are made and run for that
FEW = 16  # channels: a convolution that takes no more is as fast in float32, where a sum that follows is part of it
A_NUMBER = 50  # products of float32 take as long as bringing a number into int8 or out of it
PARTS = 4  # convolutions of a block that are tried one by one
LEAST = 3e-3  # of the products: trying a block that saves fewer takes longer than it is worth


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
    """Convolutions that are in int8 together or not at all: those of one module's branches, or one 1x1 by itself.

    Those that take few channels are apart from the others.
    """

    name: str
    convolutions: Mapping[str, int]  # the products of a step by name
    saved: int  # of the products, less what rounding the maps costs, of which others that take them bear a part
    seen: bool  # whether a step's own alpha depends on it; else only the next state does

    @property
    def products(self) -> int:
        """Of a step, of all of its convolutions."""
        return sum(self.convolutions.values())

    @property
    def worth(self) -> bool:
        """Whether int8 is faster."""
        return self.saved > 0


def blocks_of(plain: ModelProto) -> list[Block]:
    """Returns the blocks of a graph in its order; its shapes are static, its weights constants named as in PyTorch."""
    known = shapes(plain)
    sizes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in plain.graph.initializer}
    takers = Counter(node.input[0] for node in plain.graph.node if node.op_type == "Conv")
    before_alpha = nodes_before(plain, ALPHA)

    def products(convolution: NodeProto) -> int:
        return prod(sizes[convolution.input[1]][1:]) * prod(known[convolution.output[0]])

    def takes_few(convolution: NodeProto) -> bool:
        return sizes[convolution.input[1]][1] <= FEW

    def saved(convolution: NodeProto) -> int:
        if takes_few(convolution):
            return 0
        source, result = convolution.input[0], convolution.output[0]
        numbers = prod(known[source]) // takers[source] + prod(known[result])
        return products(convolution) - A_NUMBER * numbers

    members: dict[str, list[NodeProto]] = defaultdict(list)
    for node in plain.graph.node:
        if node.op_type == "Conv":
            name = _block(node.input[1], sizes[node.input[1]][2:])
            members[f"{name} of few channels" if takes_few(node) else name].append(node)
    return [
        Block(
            name,
            {node.name: products(node) for node in nodes},
            sum(map(saved, nodes)),
            any(node.name in before_alpha for node in nodes),
        )
        for name, nodes in members.items()
    ]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was tried: the convolutions that stay in float32, the share of the products in int8, the error of a step,
    and how many of its comparisons are expected to turn."""

    floating: frozenset[str]
    share: float
    drift: Drift
    turned: float

    @property
    def usual(self) -> float:
        """The error of a step in which, as in most, nothing that matters turns."""
        return float(np.median(self.drift.means))


def choose(quantiser: Quantiser, calls: Sequence[Recorded], tolerance: Tolerance) -> Choice:
    """Returns the choice that brings the steps of `calls` within `tolerance` with most of the arithmetic in int8.

    It is as many of the blocks, cheapest first, as leave the error that is measured within the tolerance, and the one
    to be expected within a part of it; then each of the others, and of the first of them each convolution, that still
    does. On untrained weights half of a mean is that of one call in ten, in which a token changes sides, by chance; so
    what is expected is the error of most calls, and for every comparison that is expected to turn what one costs.
    """
    blocks = blocks_of(quantiser.plain)
    products = {name: count for block in blocks for name, count in block.convolutions.items()}
    total = sum(products.values())
    few = calls[-1::-RANKED][::-1]
    comparisons = Comparisons(quantiser.plain, few)

    def tried(*taken: str, on: Sequence[Recorded] = calls) -> Choice:
        floating = frozenset(products.keys() - set(taken))
        share = sum(products[name] for name in taken) / total
        draft = quantiser.draft(floating=floating)
        return Choice(floating, share, measure_calls(OrtEngine(draft), on), comparisons.turned(draft))

    worthy = [block for block in blocks if block.worth]
    best = tried(*names_of(worthy))
    if best.drift.within(tolerance):
        return best
    a_turn = max(0.0, best.drift.mean - best.usual) / best.turned if best.turned else 0.0
    free = [*names_of(block for block in worthy if not block.seen)]
    candidates = [block for block in worthy if block.seen and block.saved >= LEAST * total]
    alone = {block.name: tried(*block.convolutions, on=few) for block in candidates}
    ranked = by_cost(candidates, {name: one.usual + a_turn * one.turned for name, one in alone.items()})

    def fits(choice: Choice) -> bool:
        return choice.drift.within(tolerance) and choice.usual + a_turn * choice.turned <= ROOM * tolerance.mean

    best, dear = tried(*free, *names_of(ranked)), list[Block]()
    while ranked and not fits(best):
        dear.append(ranked.pop())
        best = tried(*free, *names_of(ranked))
    taken = [*free, *names_of(ranked)]
    for part in _parts(dear[::-1]):
        more = tried(*taken, *part)
        if fits(more):
            best = more
            taken += part
    return best


def names_of(blocks: Iterable[Block]) -> Iterator[str]:
    """Yields the names of the convolutions of blocks."""
    return chain.from_iterable(block.convolutions for block in blocks)


def _parts(dear: Sequence[Block]) -> Iterator[tuple[str, ...]]:
    """Yields what may still have room where the first of these blocks, cheapest first, had none: its convolutions each
    by itself, where they are a few, and the others."""
    for block in dear[:1]:
        if 1 < len(block.convolutions) <= PARTS:
            yield from ((name,) for name in block.convolutions)
    for block in dear[1:]:
        yield tuple(block.convolutions)


def by_cost(blocks: Iterable[Block], errors: Mapping[str, float]) -> list[Block]:
    """Returns the blocks, cheapest for what they save first; errors of many add up like independent noise."""
    return sorted(blocks, key=lambda block: errors[block.name] ** 2 / block.saved)


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


def _block(weight: str, kernel: Sequence[int]) -> str:
    """Returns the name of the block that a convolution belongs to by its weight's name.

    A branch is added to the signal; 1x1 convolutions outside of branches are the way of the signal itself, which may be
    dear to round.
    """
    if _in_branch(weight):
        return f"{_module(weight)} branch"
    if prod(kernel) == 1:
        return weight.removesuffix(".weight")
    return f"{_module(weight)} {'x'.join(map(str, kernel))}"


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
