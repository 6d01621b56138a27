"""An int8 graph from a float32 one, for processors: the convolutions in int8, all else as it was.

Weights are scaled per channel, activations by the range they take while a clip of the user's own is played. Ranges
taken anew in each step, dynamic quantisation, would make convolutions slower than float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.check import Drift, Startable, Tolerance
from export.rehearsal import Call, Recorder, rehearse
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import FRAME, GATES, MASK, METADATA_KEY, Contract, Gates
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import InputError, ModelError
from rtmatte.graph import DOMAINS, read_step_contract
from rtmatte.modelfile import seal
from rtmatte.step import Array, Engine
from rtmatte.targets.person import PersonTarget

ONE_STEP_IN_INT8 = Tolerance(5e-3)
CHECK_CALLS = 16  # a seed, settling, ordinary frames, two stores

# A convolution's own Relu goes with it: the output's range then has no negative half to waste its steps on.
QUANTISED = ("Conv", "Relu")


def quantise_checked(graph: Path, clip: str | Path) -> Path:
    """Returns the int8 graph that it writes beside `graph`, calibrated on `clip`; says what it wrote and how far off.

    The person of the clip is found by lite. Raises SourceError or InputError for a clip that will not do, ModelError
    for a graph in half precision, or when a step in int8 is too far from float32; the file is left for inspection.
    """
    recorder = Recorder(graph)
    finder: Engine = recorder if recorder.contract.model == "lite" else open_engine("lite")
    path = graph.with_name(f"{graph.stem}-int8.onnx")
    quantise(graph, path, rehearse(recorder, clip, PersonTarget(finder)))
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, calibrated on {clip}")
    drift = measure_calls(OrtEngine(path), islice(rehearse(recorder, clip, PersonTarget(finder)), CHECK_CALLS))
    print(f"against float32, step by step, {drift}")
    if not drift.within(ONE_STEP_IN_INT8):
        raise ModelError(f"{path} is too far from its float32 graph; calibrate it on a clip more like its use")
    return path


def quantise(graph: Path, path: Path, calls: Iterator[Call]) -> None:
    """Writes the int8 graph of a float32 `graph`, calibrated on `calls`, to `path`, complete or not at all; sealed.

    Its contract is the float32 graph's but for the variant and the self-test, which is its own.
    """
    contract = read_step_contract(graph)
    if any(spec.dtype == "float16" for spec in contract.states):
        raise ModelError(f"{graph} is in half precision; make the int8 graph from one in float32")
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(graph, plain, skip_symbolic_shape=True)  # weights become constants, shapes are noted
        quantize_static(
            plain,
            made,
            _Reader(calls),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(made)
        foreign = [entry for entry in model.opset_import if entry.domain not in DOMAINS]
        for entry in foreign:  # the optimiser lists every domain it knows; no node is of one
            model.opset_import.remove(entry)
        contract = replace(contract, variant=f"{contract.variant}-int8".lstrip("-"), self_test=())
        _save(model, contract, made)
        _save(model, replace(contract, self_test=self_test(OrtEngine(made))), made)
        seal(made)
        part = path.with_suffix(".part")
        part.write_bytes(made.read_bytes())
        part.replace(path)


def measure_calls(engine: Startable, calls: Iterable[Call]) -> Drift:
    """Returns the error of single steps of `engine` from the states and against the alphas of `calls`."""
    errors = []
    for call in calls:
        gates = Gates(*(call.given[name] for name in GATES))
        alpha, _ = engine.step(call.given[FRAME], call.given[MASK], gates, engine.state_of(call.given))
        difference = np.abs(alpha.astype(np.float64) - call.alpha)
        errors.append((float(difference.mean()), float(difference.max())))
    if not errors:
        raise InputError("expected calls to compare, found none")
    means, greatests = zip(*errors, strict=True)
    return Drift(means, greatests)


class _Reader:
    """Hands the tensors of each call to ONNX Runtime's calibration."""

    def __init__(self, calls: Iterator[Call]) -> None:
        self._calls = calls

    def get_next(self) -> dict[str, Array] | None:
        """Returns what the next call was given, None after the last."""
        call = next(self._calls, None)
        return call.given if call else None


def _save(model: onnx.ModelProto, contract: Contract, path: Path) -> None:
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save_model(model, str(path))
