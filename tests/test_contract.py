"""The contract: round trip, what it refuses at birth, and reading it from damaged files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmatte.contract import (
    ALPHA,
    FRAME,
    MASK,
    SEED,
    SETTLE,
    WRITE,
    Contract,
    Gates,
    TensorSpec,
    after,
    block_means,
    read_contract,
    self_test_frames,
)
from rtmatte.errors import ContractError
from tests.toy_model import LAST, save_toy, toy_contract


@pytest.fixture
def contract() -> Contract:
    return replace(toy_contract(batch=2), self_test=((0.25, 0.5), (1.0, 0.0)), licence="MIT", variant="grün")


def test_contract_survives_its_json(contract: Contract) -> None:
    assert Contract.from_json(contract.to_json()) == contract


def test_contract_is_read_from_a_real_onnx_file(contract: Contract, tmp_path: Path) -> None:
    assert read_contract(save_toy(tmp_path / "toy.onnx", contract)) == contract


def test_contract_tells_its_shapes(contract: Contract) -> None:
    assert contract.batch == 2
    assert contract.size == (16, 8)
    assert contract.state_bytes == 2 * (3 + 1) * 16 * 8 * 4
    assert contract.takes(SEED)
    assert not contract.takes("downsample_ratio")
    assert after(LAST) == "last_next"


def test_input_that_is_not_there_is_named(contract: Contract) -> None:
    with pytest.raises(ContractError, match=r"expected an input 'ratio', found \['frame', 'mask'"):
        contract.input("ratio")


def changed(contract: Contract, **parts: Any) -> str:
    """Returns the contract's JSON with some entries replaced."""
    return json.dumps({**json.loads(contract.to_json()), **parts})


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"version": 2}, "expected contract version 1, found 2"),
        ({"version": None}, "expected contract version 1, found None"),
        ({"colour": "RGB"}, "damaged"),
        ({"inputs": None}, "damaged"),
        ({"inputs": []}, "expected an input 'frame'"),
        ({"inputs": [{"name": FRAME}]}, "damaged"),
        ({"inputs": [{"name": FRAME, "shape": [1, 8, 16], "dtype": "uint8"}]}, "expected a frame of"),
        ({"inputs": [{"name": FRAME, "shape": [1, 0, 16, 3], "dtype": "uint8"}]}, "expected a static shape"),
        ({"inputs": [{"name": FRAME, "shape": [1, "h", "w", 3], "dtype": "uint8"}]}, "expected a static shape"),
        ({"inputs": [{"name": FRAME, "shape": [1, 8, 16, 3], "dtype": "object"}]}, "found 'object'"),
        ({"states": [{"name": FRAME, "shape": [1], "dtype": "uint8"}]}, "names each tensor once"),
        ({"states": [{"name": ["x"], "shape": [1], "dtype": "uint8"}]}, "damaged"),
        ({"outputs": []}, "expected one alpha"),
        ({"outputs": [{"name": ALPHA, "shape": [2, 1, 8, 8], "dtype": "uint8"}]}, "expected one alpha"),
        ({"slots": 4}, r"expected write \[2, 4\] float32, found \[2, 3\]"),
        ({"slots": "3"}, "damaged|expected"),
        ({"slots": -1}, "expected"),
        ({"write_every": 0}, "expected write_every of at least 1, found 0"),
        ({"warmup": 1.5}, r"expected warmup of at least 0, found 1\.5"),
        ({"role": "leg"}, "expected a role of"),
        ({"self_test": [["a"]]}, "damaged"),
        ({"self_test": [[10**400]]}, "damaged"),
        ({"self_test": 5}, "damaged"),
    ],
)
def test_contract_that_cannot_be_is_refused(parts: dict[str, Any], sentence: str, contract: Contract) -> None:
    with pytest.raises(ContractError, match=sentence):
        Contract.from_json(changed(contract, **parts))


def test_inputs_and_states_of_one_name_are_refused(contract: Contract) -> None:
    twice = (*contract.states, contract.states[0])

    with pytest.raises(ContractError, match="names each tensor once"):
        replace(contract, states=twice)


def test_mask_of_another_size_or_dtype_is_refused(contract: Contract) -> None:
    for wrong in (TensorSpec(MASK, (2, 1, 8, 15)), TensorSpec(MASK, (2, 1, 8, 16), "uint8")):
        inputs = tuple(wrong if spec.name == MASK else spec for spec in contract.inputs)

        with pytest.raises(ContractError, match=r"expected mask \[2, 1, 8, 16\] float32"):
            replace(contract, inputs=inputs)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"contract"', "[" * 100_000])
def test_damaged_json_is_a_contract_error(text: str) -> None:
    with pytest.raises(ContractError, match="damaged"):
        Contract.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_json_gives_a_contract_or_a_contract_error(data: st.DataObject) -> None:
    valid = json.loads(toy_contract().to_json())
    key = data.draw(st.sampled_from(sorted(valid)))
    text = json.dumps({**valid, key: data.draw(JSON)})
    try:
        contract = Contract.from_json(text)
    except ContractError:
        return
    assert Contract.from_json(contract.to_json()).to_json() == contract.to_json()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_give_nothing_but_a_contract_error(content: bytes) -> None:
    with pytest.raises(ContractError):
        Contract.from_json(content.decode("utf-8", "replace"))


def test_gates_of_a_row_exclude_each_other(contract: Contract) -> None:
    gates = Gates.for_contract(contract)

    gates.set_write(2, row=1)
    gates.set_seed(row=1)
    gates.set_settle(row=0)

    assert gates.seed.tolist() == [[0], [1]]
    assert gates.settle.tolist() == [[1], [0]]
    assert gates.write.tolist() == [[0, 0, 0], [0, 0, 0]]
    gates.set_write(2, row=1)
    assert gates.seed.tolist() == [[0], [0]]
    assert gates.write.tolist() == [[0, 0, 0], [0, 0, 1]]
    gates.clear()
    assert not any(gate.any() for gate in (gates.seed, gates.settle, gates.write))


def test_gates_of_a_model_without_a_bank_have_a_slot_to_write_zeros_to(contract: Contract) -> None:
    inputs = tuple(spec for spec in contract.inputs if spec.name != WRITE)

    gates = Gates.for_contract(replace(contract, inputs=inputs, slots=0))

    assert gates.write.shape == (2, 1)


def test_self_test_frames_show_a_moving_disc_in_every_row(contract: Contract) -> None:
    frames, mask = self_test_frames(contract)

    assert frames.shape == (3, 2, 8, 16, 3)
    assert frames.dtype == np.float32
    assert mask.shape == (2, 1, 8, 16)
    assert 0 < mask.mean() < 0.5
    np.testing.assert_array_equal(frames[0][:, :, :, 0] == 200, mask[:, 0] == 1)
    assert not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[:, 0], frames[:, 1])


def test_block_means_tell_where_an_alpha_is() -> None:
    alpha = np.zeros((16, 24), np.float32)
    alpha[:2, :3] = 1.0
    alpha[2:4, 3:6] = 0.5

    means = block_means(alpha)

    assert len(means) == 64
    assert means[0] == 1.0
    assert means[9] == 0.5
    assert sum(means) == 1.5
    assert block_means((alpha * 255).round().astype(np.uint8))[0] == 1.0


def test_block_means_of_a_picture_smaller_than_the_grid_are_its_pixels() -> None:
    assert block_means(np.array([[0.25, 1.0]], np.float32)) == (0.25, 1.0)


def test_stores_go_round_the_ring_and_never_to_the_first_slot(contract: Contract) -> None:
    assert contract.slots == 3
    every_fifth = replace(contract, write_every=5)
    assert [every_fifth.slot_of(n) for n in (1, 4, 5, 6, 10, 15, 20)] == [None, None, 1, None, 2, 1, 2]
    assert every_fifth.slot_of(2, every=2) == 1


def test_a_bank_of_one_slot_keeps_the_first_frame_only() -> None:
    alone = replace(toy_contract(), slots=1, inputs=(TensorSpec(FRAME, (1, 8, 16, 3), "uint8"),))
    assert alone.slot_of(5) is None


def tail_of(contract: Contract) -> Contract:
    """Returns the contract of a tail that a head of `contract` hands a map of 3 channels."""
    gates = tuple(spec for spec in contract.inputs if spec.name in (SEED, SETTLE, WRITE))
    return replace(contract, role="tail", inputs=(*gates, TensorSpec("image", (2, 3, 16, 32))), outputs=())


def test_a_tail_takes_no_frame_and_its_batch_and_size_come_from_what_it_does_take(contract: Contract) -> None:
    tail = tail_of(contract)

    assert Contract.from_json(tail.to_json()) == tail
    assert (tail.batch, tail.size) == (2, (32, 16))


def test_a_tail_without_gates_or_a_picture_is_refused(contract: Contract) -> None:
    tail = tail_of(contract)

    with pytest.raises(ContractError, match="expected an input 'seed'"):
        replace(tail, inputs=tail.inputs[1:])
    with pytest.raises(ContractError, match="expected a picture among a tail's inputs"):
        replace(tail, inputs=tail.inputs[:-1])


def test_a_graph_gives_its_outputs_and_then_its_next_states_but_a_head_keeps_none(contract: Contract) -> None:
    assert [spec.name for spec in contract.results] == [ALPHA, *(after(spec.name) for spec in contract.states)]
    assert replace(contract, role="head").results == contract.outputs
