"""MatAnyone's exported graphs on ONNX Runtime: against the reference's alphas, PyTorch, and each other.

Weights are the golden recipe's. Each graph is exported once; most are of the size and bank of `tiny_steps`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from export.__main__ import Order, simplified
from export.check import calls, measure_drift, measure_steps
from export.split import SplitEngine, in_onnxruntime
from export.to_onnx import export_step
from export.wiring import shape_of
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import Contract, Gates, read_contract
from rtmatte.frame import Frame, Mask
from rtmatte.imaging import Size
from rtmatte.network.matanyone.precision import ISLANDS
from rtmatte.network.matanyone.weights import LICENCE
from rtmatte.session import Session, SessionOptions
from tests.assertions import (
    assert_fast_network,
    assert_graph_alpha,
    assert_same_drift,
    assert_same_step,
    assert_step_in_bfloat16,
    assert_step_in_half,
)
from tests.golden_clip import GoldenClip, golden_files
from tests.golden_weights import GOLDEN, golden_network

SIZE, SLOTS = (112, 80), 3
FRAMES = 40
HALF_FRAMES = {SIZE: FRAMES, (150, 101): FRAMES, (256, 144): 14}
ROWS = 4

Graphs = Callable[[Order], Path]


def golden_clips() -> list[Path]:
    """Returns every clip of a folder that RTMATTE_GOLDEN names, else two of ours: each size and bank is an export."""
    if "RTMATTE_GOLDEN" in os.environ:
        return golden_files()
    return [path for path in golden_files() if path.stem.startswith(("tiny_steps", "odd"))]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Writes the weights of a rules file as a user would have them."""
    folder = tmp_path_factory.mktemp("weights")

    @cache
    def write(rules_file: Path) -> Path:
        path = folder / f"{rules_file.stem}.pth"
        torch.save(golden_network(rules_file).state_dict(), path)
        return path

    return write


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """Exports what is ordered, once."""
    folder = tmp_path_factory.mktemp("graphs")

    @cache
    def export(order: Order) -> Path:
        module, contract = order.open()
        path = folder / f"{order.slots}-{order.batch}-{order.file_name}"
        export_step(simplified(module), contract, path, half_weights=False)
        return path

    return export


@pytest.fixture(scope="session")
def half(parity: Order) -> Order:
    return replace(parity, variant="fast-fp16")


@pytest.fixture(scope="session")
def parity(checkpoint: Callable[[Path], Path]) -> Order:
    return Order(checkpoint(GOLDEN / "weights_seed0.json"), SIZE, SLOTS, variant="parity")


def eager(order: Order) -> EagerEngine:
    return EagerEngine(*order.open())


@pytest.mark.parametrize("path", golden_clips(), ids=lambda path: f"golden-{path.stem}")
def test_the_graph_behind_a_session_gives_the_alphas_of_the_reference(
    path: Path, checkpoint: Callable[[Path], Path], graph: Graphs
) -> None:
    clip = GoldenClip.load(path)
    params, frames = clip.params, clip.frames()
    order = Order(
        checkpoint(path.parent / f"weights_{params.weights}.json"),
        size=(frames.shape[2], frames.shape[1]),
        slots=params.max_mem_frames,
        variant="parity",
    )
    mask, options = clip.arrays["mask"], SessionOptions(params.n_warmup, write_every=params.mem_every, lost_after=None)
    if mask.shape == frames.shape[1:3]:
        options = replace(options, dilate=params.r_dilate, erode=params.r_erode)
    else:  # the clip is shrunk before it comes to a session, and its mask is treated before that
        mask = clip.mask()
    clock = ManualClock()
    session = Session(OrtEngine(graph(order), threads=1), None, clock, options)

    session.reseed(Mask(mask.astype(np.float32) / np.float32(255)))
    alphas = []
    for number, pixels in enumerate(frames):
        matte = session.process(Frame(number, pixels, clock.now()))
        assert matte.alpha is not None, session.status
        alphas.append(clip.at_output_size(matte.alpha).copy())

    assert_graph_alpha(np.stack(alphas), clip.arrays["alpha"], path.stem)


def test_the_parity_graph_follows_pytorch_for_40_recurrent_frames(graph: Graphs, parity: Order) -> None:
    assert_same_drift(measure_drift(OrtEngine(graph(parity), threads=1), eager(parity), frames=FRAMES))


@pytest.mark.parametrize("size", HALF_FRAMES, ids=lambda size: "{}x{}".format(*size))
def test_steps_in_half_precision_stay_near_float32(size: Size, graph: Graphs, half: Order) -> None:
    order = replace(half, size=size)
    engine = OrtEngine(graph(order), threads=1)

    drift = measure_steps(engine, eager(replace(order, variant="fast")), frames=HALF_FRAMES[size])

    assert_step_in_half(drift)


def test_steps_in_openvinos_bfloat16_stay_near_float32(graph: Graphs, half: Order) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'rtmatte[openvino]'")
    from rtmatte.backends.openvino import OpenVinoEngine

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    order = replace(half, variant="fast")
    engine = OpenVinoEngine(graph(order), precision="bf16", threads=1)

    assert_step_in_bfloat16(measure_steps(engine, eager(order), frames=HALF_FRAMES[order.size]))


def test_half_precision_is_in_the_weights_and_the_contract(graph: Graphs, half: Order) -> None:
    path = graph(half)
    contract, model = read_contract(path), onnx.load(path)

    kernels = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 4 and np.prod(t.dims) > 500_000}
    in_float32 = {name for name, data_type in kernels.items() if data_type == TensorProto.FLOAT}

    assert {spec.name: spec.dtype for spec in contract.outputs} == {"alpha": "uint8"}
    assert {spec.dtype for spec in contract.states if "object_memory" in spec.name} == {"float32"}
    assert {spec.dtype for spec in contract.states if spec.name in {"bank_key", "bank_value"}} == {"float16"}
    assert set(kernels.values()) == {TensorProto.FLOAT, TensorProto.FLOAT16}
    assert all(any(island in name for island in ISLANDS) for name in in_float32)
    assert half_share(model) > 0.75
    producers = {output: node for node in model.graph.node for output in node.output}
    assert producers["alpha"].op_type == "Cast"


def test_a_head_then_its_tail_are_the_step(graph: Graphs, parity: Order) -> None:
    paths = [graph(replace(parity, part="head")), graph(replace(parity, part="tail"))]
    contracts = [read_contract(path) for path in paths]
    head, tail = (in_onnxruntime(path, contract) for path, contract in zip(paths, contracts, strict=True))

    drift = measure_drift(SplitEngine(head, tail, *contracts), OrtEngine(graph(parity), threads=1), frames=12)

    assert_same_drift(drift)


def test_a_fast_graph_of_four_rows_stays_near_parity_in_every_phase_and_keeps_rows_apart(
    graph: Graphs, parity: Order
) -> None:
    order = replace(parity, variant="fast")
    engine = OrtEngine(graph(replace(order, batch=ROWS)), threads=1)
    poison = {spec.name: np.full(spec.shape, np.nan, np.float32) for spec in engine.contract.states}
    alone = [answers(eager(order), row) for row in range(ROWS)]
    closest = [answers(eager(parity), row) for row in range(ROWS)]

    state, found = engine.state_of(poison), []
    gates = Gates.for_contract(engine.contract)
    clips = [clip_of(engine.contract, row) for row in range(ROWS)]
    mask = np.stack([masks[0] for _, masks in clips])
    for now in range(LENGTH + ROWS - 1):
        gates.clear()
        for row in range(ROWS):
            set_phase(gates, engine.contract, now - row, row)
        frames = np.stack([clip[min(max(now - row, 0), LENGTH - 1)] for row, (clip, _) in enumerate(clips)])
        alpha, state = engine.step(frames, mask, gates, state)
        found.append(alpha.copy())

    for row in range(ROWS):
        mine = np.stack(found[row : row + LENGTH])[:, row]
        assert_same_step(mine, alone[row], f"row {row}")
        assert_fast_network(mine, closest[row], f"row {row}")


LENGTH = 10


def clip_of(contract: Contract, row: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns frames [LENGTH,H,W,3] and masks [1,1,H,W] that differ with `row`."""
    found = [(call.frame[0], call.mask[:1]) for call in calls(contract, LENGTH + row)]
    return np.stack([frame for frame, _ in found[row:]]), found[0][1]


def set_phase(gates: Gates, contract: Contract, turn: int, row: int) -> None:
    """Sets the gates of one row at its own call `turn`: seed, settle, then ordinary, every second frame stored."""
    if turn == 0:
        gates.set_seed(row)
    elif turn == 1:
        gates.set_settle(row)
    elif turn > 1 and (slot := contract.slot_of(turn - 1, every=2)) is not None:
        gates.set_write(slot, row)


def answers(engine: EagerEngine, row: int) -> NDArray[np.float32]:
    """Returns the alphas [LENGTH,1,H,W] of the clip of `row`, run by itself."""
    clip, mask = clip_of(engine.contract, row)
    gates, state, found = Gates.for_contract(engine.contract), engine.new_state(), []
    for turn, frame in enumerate(clip):
        gates.clear()
        set_phase(gates, engine.contract, turn, 0)
        frame = frame[None].astype(engine.contract.inputs[0].dtype)
        alpha, state = engine.step(frame, mask, gates, state)
        found.append(alpha[0])
    return np.stack(found)


def test_a_graph_names_its_variant_weights_and_licence(graph: Graphs, parity: Order) -> None:
    contract = read_contract(graph(parity))

    assert (contract.model, contract.variant, contract.licence) == ("matanyone", "parity", LICENCE)
    assert len(contract.weights_sha256) == 64


def half_share(model: ModelProto) -> float:
    """Returns the share of the convolutions' multiplications whose weights are in half precision."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: shape_of(value) for value in (*graph.value_info, *graph.output)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products: Counter[int] = Counter()
    for node in graph.node:
        if node.op_type == "Conv":
            weight = weights[node.input[1]]
            products[weight.data_type] += prod(weight.dims[1:]) * prod(shapes[node.output[0]])
    return products[TensorProto.FLOAT16] / products.total()
