"""Other people's ONNX files under our contract, on tiny graphs with the tensors of RVM and MODNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.clips import Clip
from benchmarks.network import open_network
from benchmarks.peers import add_contract
from benchmarks.quality.evaluate import evaluate
from rtmatte.contract import FRAME, Contract, Gates, read_contract
from rtmatte.engine import open_engine
from rtmatte.errors import ModelError
from rtmatte.modelfile import read_seal
from tests.assertions import ROUNDING

Pixels8 = NDArray[np.uint8]
WIDTH, HEIGHT = 64, 32


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], **attributes)


def value(name: str, shape: Sequence[str | int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Path:
    tensors = [numpy_helper.from_array(np.array(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "peer", inputs, outputs, tensors)
    onnx.save_model(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 12)]), str(path))
    return path


def rvm(path: Path) -> Path:
    """A graph of RVM's signature: the matte is half the red channel and half the first state, which is the last matte.

    The states have a half, a quarter ... of the picture's size, and start as single zeros.
    """
    nodes = [node("Slice", ["src", "zero", "one", "axis"], "red"), node("Mul", ["red", "half"], "now")]
    nodes += [
        node("AveragePool", ["src" if n == 1 else f"small{n - 1}"], f"small{n}", kernel_shape=[2, 2], strides=[2, 2])
        for n in range(1, 5)
    ]
    nodes += [node("Add", [f"small{n}", f"r{n}i"], f"r{n}o") for n in range(2, 5)]
    nodes += [
        node("Slice", ["r1i", "zero", "one", "axis"], "before"),
        node("Mul", ["before", "half"], "kept"),
        node("Mul", ["small1", "none"], "blank"),
        node("Slice", ["blank", "zero", "one", "axis"], "blank1"),
        node("Add", ["kept", "blank1"], "spread"),
        node("AveragePool", ["now"], "now_small", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", ["now_small", "spread"], "matte_small"),
        node("Identity", ["matte_small"], "r1o"),
        node("Resize", ["matte_small", "region", "scales"], "matte", mode="nearest"),
        node("Mul", ["matte", "downsample_ratio"], "pha"),
        node("Identity", ["src"], "fgr"),
    ]
    constants = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "half": np.float32(0.5),
        "none": np.float32(0),
        "region": np.zeros(0, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    inputs = [value("src", ("b", 3, "h", "w")), *(value(f"r{n}i", ("b", "c", "y", "x")) for n in range(1, 5))]
    outputs = [value(name, ("b", "c", "y", "x")) for name in ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")]
    return save(path, nodes, [*inputs, value("downsample_ratio", (1,))], outputs, constants)


def modnet(path: Path) -> Path:
    """A graph of MODNet's signature: the matte is the mean over the channels of a picture in -1..1, moved to 0..1."""
    nodes = [
        node("ReduceMean", ["input"], "mean", axes=[1], keepdims=1),
        node("Mul", ["mean", "half"], "small"),
        node("Add", ["small", "half"], "output"),
    ]
    sides = ("batch_size", 3, "height", "width")
    return save(path, nodes, [value("input", sides)], [value("output", ("b", 1, "h", "w"))], {"half": np.float32(0.5)})


def played(path: Path, frames: Sequence[Pixels8]) -> list[NDArray[np.float32]]:
    engine = open_engine(path, backend="cpu")
    gates, state = Gates.for_contract(engine.contract), engine.new_state()
    alphas = []
    for pixels in frames:
        alpha, state = engine.step(pixels[None], None, gates, state)
        alphas.append(np.array(alpha[0, 0]))
    return alphas


def frames(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Pixels8]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def test_rvm_gets_four_named_states_of_static_shape(tmp_path: Path) -> None:
    contract = add_contract(rvm(tmp_path / "rvm.onnx"), tmp_path / "out.onnx", (WIDTH, HEIGHT))

    assert contract == read_contract(tmp_path / "out.onnx")
    assert [spec.name for spec in contract.states] == ["r1", "r2", "r3", "r4"]
    assert [spec.shape for spec in contract.states] == [
        (1, 1, 16, 32),
        (1, 3, 8, 16),
        (1, 3, 4, 8),
        (1, 3, 2, 4),
    ]
    assert contract.input(FRAME).dtype == "uint8"
    assert not contract.takes("seed")
    outputs = {output.name for output in onnx.load(str(tmp_path / "out.onnx")).graph.output}
    assert outputs == {"alpha", "r1_next", "r2_next", "r3_next", "r4_next"}
    assert len(contract.self_test) == 3
    seal = read_seal(tmp_path / "out.onnx")
    assert seal is not None
    assert seal.recorded == seal.found


def test_rvm_remembers_from_frame_to_frame(tmp_path: Path) -> None:
    add_contract(rvm(tmp_path / "rvm.onnx"), tmp_path / "out.onnx", (WIDTH, HEIGHT))
    shown = frames(3)

    alphas = played(tmp_path / "out.onnx", shown)

    last = np.zeros((HEIGHT // 2, WIDTH // 2), np.float32)
    for pixels, alpha in zip(shown, alphas, strict=True):
        red = (pixels[..., 0] / np.float32(255)).reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3))
        last = red / 2 + last / 2
        np.testing.assert_allclose(alpha, last.repeat(2, 0).repeat(2, 1), atol=10 * ROUNDING)


def test_a_large_picture_is_made_smaller_inside_rvm(tmp_path: Path) -> None:
    add_contract(rvm(tmp_path / "rvm.onnx"), tmp_path / "out.onnx", (1024, 32))
    white = np.full((32, 1024, 3), 255, np.uint8)

    (alpha,) = played(tmp_path / "out.onnx", [white])

    assert abs(float(alpha.mean()) - 0.5 * 0.5) < ROUNDING  # the tiny graph multiplies by the ratio it is given


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (70, 50)])
def test_modnet_sees_minus_one_to_one_at_multiples_of_32(tmp_path: Path, size: tuple[int, int]) -> None:
    contract = add_contract(modnet(tmp_path / "modnet.onnx"), tmp_path / "out.onnx", size)
    ramp = np.linspace(0, 255, size[0]).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (size[1], size[0], 3)).copy()

    (alpha,) = played(tmp_path / "out.onnx", [picture])

    assert (contract.model, contract.states, contract.size) == ("modnet", (), size)
    assert alpha.shape == (size[1], size[0])
    tolerance = ROUNDING if size == (WIDTH, HEIGHT) else 0.03  # there and back by linear resizes
    np.testing.assert_allclose(alpha, picture[..., 0] / np.float32(255), atol=tolerance)


def test_a_peer_is_scored_like_a_model_of_ours(tmp_path: Path) -> None:
    add_contract(modnet(tmp_path / "modnet.onnx"), tmp_path / "modnet-tiny.onnx", (WIDTH, HEIGHT))

    def truth(number: int) -> Pixels8:
        matte = np.zeros((HEIGHT, WIDTH), np.uint8)
        matte[8:, 10 + 2 * number : 30 + 2 * number] = 255
        return matte

    clip = Clip("white person", 4, lambda n: truth(n)[..., None].repeat(3, axis=2), truth)

    result = evaluate(open_network(str(tmp_path / "modnet-tiny.onnx")), clip, rounds=1)

    assert result.method == "modnet-tiny"
    assert max(result.per_frame["mad"]) < 1
    assert len(result.step_ms) == 3


def test_a_file_that_is_no_peer_is_refused_by_its_inputs(tmp_path: Path) -> None:
    two = [value("a", (1, 3, 8, 8)), value("b", (1, 3, 8, 8))]
    other = save(tmp_path / "other.onnx", [node("Add", ["a", "b"], "c")], two, [value("c", (1, 3, 8, 8))], {})
    (tmp_path / "text.onnx").write_text("not a model")

    with pytest.raises(ModelError, match="a, b"):
        add_contract(other, tmp_path / "out.onnx", (WIDTH, HEIGHT))
    for missing in ("text.onnx", "nothing.onnx"):
        with pytest.raises(ModelError, match="expected an ONNX file"):
            add_contract(tmp_path / missing, tmp_path / "out.onnx", (WIDTH, HEIGHT))
    assert not (tmp_path / "out.onnx").exists()


def test_the_contract_of_a_peer_survives_its_json(tmp_path: Path) -> None:
    contract = add_contract(modnet(tmp_path / "modnet.onnx"), tmp_path / "out.onnx", (WIDTH, HEIGHT))

    assert Contract.from_json(contract.to_json()) == contract
