"""MatAnyone's step: what rows, gates, poisoned states and the cut after the alpha may and may not change.

Frames are 96x80, the smallest that has the 30 tokens the network reads; weights are the golden recipe's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rtmatte.errors import InputError
from rtmatte.network.matanyone import memory
from rtmatte.network.matanyone.encoder import Keys
from rtmatte.network.matanyone.memory import Bank, MemoryReader, Read
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.network.matanyone.step import Head, Links, Step, StepState, Tail, contract_of, state_specs
from rtmatte.network.matanyone.summary import add_compensated
from tests.assertions import assert_same_step, assert_same_sum
from tests.golden_weights import GOLDEN, golden_network

WIDTH, HEIGHT, SLOTS = 96, 80, 3
SEED, SETTLE, PLAIN = "seed", "settle", "plain"
CALLS: list[str | int] = [SEED, SETTLE, PLAIN, 1, PLAIN, 2]  # a number writes that slot


@pytest.fixture(scope="module")
def net() -> MatAnyone:
    return golden_network(GOLDEN / "weights_seed0.json")


@pytest.fixture(scope="module")
def step(net: MatAnyone) -> Step:
    return Step(net, width=WIDTH, height=HEIGHT)


def pictures(seed: int) -> tuple[Tensor, Tensor]:
    """Returns six frames [6,H,W,3] and a mask [1,H,W] that differ with `seed`."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 3, 10, 12)).astype(np.float32)
    frames = torch.nn.functional.interpolate(torch.from_numpy(coarse), (HEIGHT, WIDTH), mode="bilinear")
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, 20 : 40 + 8 * seed, 16 + 8 * seed : 64] = 1
    return frames.permute(0, 2, 3, 1).round(), mask


def gates(calls: Iterable[str | int]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns seed, settle and write with one row a call."""
    rows = list(calls)
    seed = torch.tensor([[float(call == SEED)] for call in rows])
    settle = torch.tensor([[float(call == SETTLE)] for call in rows])
    write = torch.zeros(len(rows), SLOTS)
    for row, call in enumerate(rows):
        if isinstance(call, int):
            write[row, call] = 1
    return seed, settle, write


def states(batch: int = 1, value: float = 0.0) -> list[Tensor]:
    return [torch.full(spec.shape, value) for spec in state_specs(width=WIDTH, height=HEIGHT, slots=SLOTS, batch=batch)]


@torch.inference_mode()
def alone(step: Step, seed: int) -> list[Tensor]:
    """Returns the alphas [1,H,W] of CALLS over the pictures of `seed`, run by themselves."""
    frames, mask = pictures(seed)
    state, alphas = states(), []
    for call, frame in zip(CALLS, frames, strict=True):
        alpha, *state = step(frame[None], mask[None], *gates([call]), *state)
        alphas.append(alpha[0])
    return alphas


def test_rows_in_different_phases_are_their_single_runs_and_poison_stays_in_its_row(step: Step) -> None:
    rows, last = range(4), len(CALLS) - 1
    clips = [pictures(row) for row in rows]
    masks = torch.stack([mask for _, mask in clips])
    state = states(len(rows), torch.nan)  # a row starts at the call of its own number; before that it is poison
    alphas = []

    with torch.inference_mode():
        for now in range(last + len(rows)):
            turns = [now - row for row in rows]
            calls = [CALLS[turn] if 0 <= turn <= last else PLAIN for turn in turns]
            frames = torch.stack(
                [frames[min(max(turn, 0), last)] for (frames, _), turn in zip(clips, turns, strict=True)]
            )
            alpha, *state = step(frames, masks, *gates(calls), *state)
            alphas.append(alpha)

    for row in rows:
        found = torch.stack(alphas[row : row + len(CALLS)])[:, row]
        assert_same_step(found.numpy(), torch.stack(alone(step, row)).numpy(), f"row {row}")


def test_a_seed_makes_every_poisoned_state_finite_and_ignores_it(step: Step) -> None:
    frames, mask = pictures(0)

    with torch.inference_mode():
        clean = step(frames[:1], mask[None], *gates([SEED]), *states())
        poisoned = step(frames[:1], mask[None], *gates([SEED]), *states(value=torch.nan))

    assert all(bool(after.isfinite().all()) for after in poisoned)
    assert all(torch.equal(a, b) for a, b in zip(clean, poisoned, strict=True))


def test_the_mask_is_read_by_a_seed_only(step: Step) -> None:
    frames, mask = pictures(0)

    with torch.inference_mode():
        _, *state = step(frames[:1], mask[None], *gates([SEED]), *states())
        answers = [step(frames[:1], m, *gates([SETTLE]), *state)[0] for m in (mask[None], mask[None] * torch.nan)]

    assert torch.equal(*answers)


def test_head_then_tail_is_the_step(net: MatAnyone, step: Step) -> None:
    head, tail = Head(net, width=WIDTH, height=HEIGHT), Tail(net, width=WIDTH, height=HEIGHT)
    frames, mask = pictures(1)
    whole, cut = states(), states()

    with torch.inference_mode():
        for call, frame in zip(CALLS, frames, strict=True):
            seed, settle, write = gates([call])
            expected, *whole = step(frame[None], mask[None], seed, settle, write, *whole)
            alpha, *links = head(frame[None], mask[None], seed, settle, *cut)
            cut = list(tail(seed, settle, write, *links, *cut))

            assert len(links) == len(Links._fields)
            assert_same_step(alpha.numpy(), expected.numpy(), f"alpha of {call}")
            for name, found, after in zip(StepState._fields, cut, whole, strict=True):
                assert_same_step(found.numpy(), after.numpy(), f"{name} after {call}")


def test_bytes_and_floats_of_the_same_picture_give_the_same_alpha(step: Step) -> None:
    frames, mask = pictures(2)

    with torch.inference_mode():
        _, *state = step(frames[:1], mask[None], *gates([SEED]), *states())
        alphas = [step(f, mask[None], *gates([PLAIN]), *state)[0] for f in (frames[1:2], frames[1:2].byte())]

    assert torch.equal(*alphas)


def test_the_contract_names_what_the_step_takes_and_returns(step: Step) -> None:
    contract = contract_of(width=WIDTH, height=HEIGHT, slots=SLOTS)
    inputs = [torch.zeros(spec.shape) for spec in (*contract.inputs, *contract.states)]

    with torch.inference_mode():
        alpha, *after = step(*inputs)

    assert tuple(alpha.shape) == contract.outputs[0].shape
    assert [tuple(state.shape) for state in after] == [spec.shape for spec in contract.states]


@pytest.mark.parametrize(("width", "height"), [(80, 80), (16, 400), (1, 1)])
def test_a_frame_of_fewer_than_30_tokens_is_refused(net: MatAnyone, width: int, height: int) -> None:
    with pytest.raises(InputError, match="use 96x80 or larger"):
        Step(net, width=width, height=height)


def memory_of(slots: int, valid: list[float], height: int = 5, width: int = 6) -> tuple[Keys, Bank]:
    """Returns random keys of one frame and a bank of two rows; what an invalid slot holds is NaN."""
    draw = torch.Generator().manual_seed(0)
    maps, tokens = (2, 64, height, width), (2, slots, height * width)
    keys = Keys(torch.randn(maps, generator=draw), torch.ones(2, 1, height, width), torch.rand(maps, generator=draw))
    key, value = (torch.randn(*tokens, channels, generator=draw) for channels in (64, 256))
    shrinkage = 1 + torch.rand(tokens, generator=draw)
    for slot in (slot for slot, used in enumerate(valid) if not used):
        for stored in (key, shrinkage, value):
            stored[:, slot] = torch.nan
    return keys, Bank(key, shrinkage, value, torch.tensor([valid, valid]))


def test_the_similarity_is_the_weighted_squared_distance() -> None:
    keys, bank = memory_of(2, [1, 1])

    read = MemoryReader("full")(keys, bank)

    query, selection = (part.double().flatten(2).transpose(1, 2)[:, :, None] for part in (keys.key, keys.selection))
    stored = bank.key.double().flatten(1, 2)[:, None]
    distance = (selection * (query - stored).square()).sum(-1)
    weights = (-distance * bank.shrinkage.double().flatten(1)[:, None] / 8).softmax(-1)
    expected = (weights @ bank.value.double().flatten(1, 2)).transpose(1, 2).reshape(read.shape)
    assert_same_step(read.numpy(), expected.numpy(), "read")


@pytest.mark.parametrize("read", ["topk", "full"])
def test_reading_in_pieces_changes_nothing(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, bank = memory_of(3, [1, 0, 1])
    whole = MemoryReader(read)(keys, bank)

    monkeypatch.setattr(memory, "MOST_SIMILARITIES", 7 * 2 * 3 * 30)  # seven queries at a time

    assert_same_step(MemoryReader(read)(keys, bank).numpy(), whole.numpy(), read)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the number of elements of the largest tensor that is made while it is on."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            self.elements = max(self.elements, tensor.numel())
        return made


@pytest.mark.parametrize("read", ["topk", "full"])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 68, 120), (1, 120, 68), (4, 45, 80)])
def test_above_720p_the_similarities_are_never_there_whole(read: Read, batch: int, height: int, width: int) -> None:
    slots, tokens = 5, height * width
    with torch.device("meta"):  # shapes alone
        key = torch.empty(batch, 64, height, width)
        keys = Keys(key, torch.empty(batch, 1, height, width), key)
        stored = torch.empty(batch, slots, tokens, 64), torch.empty(batch, slots, tokens)
        bank = Bank(*stored, torch.empty(batch, slots, tokens, 256), torch.empty(batch, slots))

    with Largest() as largest:  # type: ignore[no-untyped-call]
        found = MemoryReader(read)(keys, bank)

    assert found.shape == (batch, 256, height, width)
    assert largest.elements <= memory.MOST_SIMILARITIES < batch * slots * tokens**2


def test_the_best_30_of_30_tokens_are_all_of_them() -> None:
    keys, bank = memory_of(3, [1, 0, 0])

    best, everything = (MemoryReader(read)(keys, bank) for read in ("topk", "full"))

    assert_same_step(best.numpy(), everything.numpy(), "30 of 30")


@pytest.mark.parametrize("read", ["topk", "full"])
def test_a_bank_with_no_valid_slot_reads_zero(read: Read) -> None:
    keys, bank = memory_of(2, [0, 0])

    assert torch.equal(MemoryReader(read)(keys, bank), torch.zeros(2, 256, 5, 6))


def test_the_object_memory_adds_20000_frames_of_720p_without_drift() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 300, (16, 257)).astype(np.float32)
    base[:, 256] = rng.uniform(0, 3600, 16)  # an area of up to all tokens
    total = carry = plain = torch.zeros(16, 257)
    exact = np.zeros((16, 257))

    for _ in range(20_000):
        term = base * rng.uniform(0.5, 1.5, (16, 1)).astype(np.float32)
        total, carry = add_compensated(total, carry, torch.from_numpy(term))
        plain = plain + torch.from_numpy(term)
        exact += term

    assert_same_sum(total.numpy(), exact, "compensated sum")
    with pytest.raises(AssertionError):
        assert_same_sum(plain.numpy(), exact, "plain sum")
