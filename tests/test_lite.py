"""lite as a step: the gates of the contract, on random weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rtmatte.errors import ModelError
from rtmatte.network import lite_step
from rtmatte.network.lite import Bank, Lite
from rtmatte.network.lite_step import STATES, LiteStep, contract_of
from tests.assertions import BATCH_MAX, FOLDED_MAX

WIDTH, HEIGHT, SLOTS = 64, 48, 3
SEED, SETTLE, STORE, ORDINARY = "seed", "settle", "store", "ordinary"


@pytest.fixture(scope="module")
def net() -> Lite:
    torch.manual_seed(3)
    made = Lite().eval()
    with torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.mul_(1.5)  # livelier than the initial weights, so that a lost state shows
    return made


def a_step(net: Lite) -> LiteStep:
    return LiteStep(net, width=WIDTH, height=HEIGHT)


def zero_states(net: Lite, rows: int = 1) -> list[Tensor]:
    contract = contract_of(net, width=WIDTH, height=HEIGHT, slots=SLOTS, batch=rows)
    return [torch.from_numpy(spec.zeros()) for spec in contract.states]


def gates(*calls: str) -> tuple[Tensor, Tensor, Tensor]:
    """One row a call; a store goes to slot 2."""
    seed = torch.tensor([[float(c == SEED)] for c in calls])
    settle = torch.tensor([[float(c == SETTLE)] for c in calls])
    write = torch.zeros(len(calls), SLOTS)
    write[[i for i, c in enumerate(calls) if c == STORE], 2] = 1
    return seed, settle, write


def frames(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), generator=generator, dtype=torch.uint8)


def half_mask(rows: int = 1) -> Tensor:
    mask = torch.zeros(rows, 1, HEIGHT, WIDTH)
    mask[..., WIDTH // 4 : WIDTH // 2] = 1
    return mask


@torch.inference_mode()
def run(net: Lite, pictures: Tensor, calls: list[str], states: list[Tensor] | None = None) -> list[Tensor]:
    """Returns [alpha of every call..., *states at the end] of one row."""
    step, state = a_step(net), states or zero_states(net)
    alphas = []
    for picture, call in zip(pictures, calls, strict=True):
        alpha, *state = step(picture[None], half_mask(), *gates(call), *state)
        alphas.append(alpha)
    return [*alphas, *state]


def test_a_seed_gives_back_its_mask(net: Lite) -> None:
    alpha = run(net, frames(1, 0), [SEED])[0]
    assert torch.equal(alpha, half_mask())


def test_alpha_is_within_its_range_and_finite_even_unseeded(net: Lite) -> None:
    answers = run(net, frames(3, 0), [ORDINARY, STORE, ORDINARY])
    assert all(a.isfinite().all() for a in answers)
    assert all(a.min() >= 0 and a.max() <= 1 for a in answers[:3])


def test_nan_in_every_state_before_a_seed_changes_nothing(net: Lite) -> None:
    pictures, calls = frames(4, 1), [SEED, SETTLE, ORDINARY, STORE]
    poisoned = [torch.full_like(s, torch.nan) for s in zero_states(net)]
    clean, seeded = run(net, pictures, calls), run(net, pictures, calls, poisoned)
    assert all(torch.equal(a, b) for a, b in zip(clean, seeded, strict=True))


def test_four_rows_in_different_phases_equal_four_single_runs(net: Lite) -> None:
    schedules = [
        [SEED, SETTLE, SETTLE, ORDINARY, STORE, ORDINARY],
        [SEED, SETTLE, ORDINARY, STORE, ORDINARY, ORDINARY],
        [ORDINARY, ORDINARY, SEED, SETTLE, ORDINARY, STORE],
        [SEED, SETTLE, STORE, SEED, SETTLE, ORDINARY],
    ]
    clips = [frames(6, seed) for seed in range(4)]
    singles = [run(net, clip, calls) for clip, calls in zip(clips, schedules, strict=True)]
    step, state = a_step(net), zero_states(net, rows=4)
    with torch.inference_mode():
        for n in range(6):
            pictures = torch.stack([clip[n] for clip in clips])
            alpha, *state = step(pictures, half_mask(4), *gates(*(calls[n] for calls in schedules)), *state)
            expected = torch.cat([single[n] for single in singles])
            assert (alpha - expected).abs().max() <= BATCH_MAX


def test_a_poisoned_row_leaves_its_neighbour_alone(net: Lite) -> None:
    step, pictures = a_step(net), frames(2, 5)
    state = zero_states(net, rows=2)
    poisoned = [torch.stack([s[0], torch.full_like(s[1], torch.nan)]) for s in state]
    with torch.inference_mode():
        clean = step(pictures, half_mask(2), *gates(ORDINARY, SEED), *state)
        other = step(pictures, half_mask(2), *gates(ORDINARY, SEED), *poisoned)
    assert all(torch.equal(a, b) for a, b in zip(clean, other, strict=True))


def test_the_state_before_matters_on_an_ordinary_frame(net: Lite) -> None:
    pictures = frames(3, 6)
    remembered = run(net, pictures, [SEED, SETTLE, ORDINARY])[2]
    forgotten = run(net, pictures[2:], [ORDINARY])[0]
    assert (remembered - forgotten).abs().mean() > 1e-3


def test_settle_does_not_read_the_bank(net: Lite) -> None:
    pictures = frames(2, 7)
    _, *state = run(net, pictures[:1], [SEED])
    other = [s + 3.0 if name in ("bank_key", "bank_value") else s for name, s in zip(STATES, state, strict=True)]
    step = a_step(net)
    with torch.inference_mode():
        first = step(pictures[1:], half_mask(), *gates(SETTLE), *state)
        second = step(pictures[1:], half_mask(), *gates(SETTLE), *other)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_store_fills_its_slot_and_a_start_empties_the_others(net: Lite) -> None:
    pictures = frames(4, 8)
    valid = STATES.index("bank_valid")
    assert run(net, pictures[:3], [SEED, SETTLE, STORE])[3 + valid].tolist() == [[1, 0, 1]]
    assert run(net, pictures, [SEED, SETTLE, STORE, SETTLE])[4 + valid].tolist() == [[1, 0, 0]]


def test_an_ordinary_frame_keeps_the_bank(net: Lite) -> None:
    pictures = frames(4, 9)
    stored = run(net, pictures[:3], [SEED, SETTLE, STORE])[3:6]
    kept = run(net, pictures, [SEED, SETTLE, STORE, ORDINARY])[4:7]
    assert all(torch.equal(a, b) for a, b in zip(stored, kept, strict=True))


def test_what_lies_in_an_empty_slot_is_not_read(net: Lite) -> None:
    torch.manual_seed(0)
    key = torch.nn.functional.normalize(torch.randn(1, net.widths.key, 3, 4), dim=1)
    bank = Bank(
        torch.randn(1, 2, 12, net.widths.key), torch.randn(1, 2, 12, net.widths.value), torch.tensor([[1.0, 0]])
    )
    junk = [torch.cat([part[:, :1], torch.full_like(part[:, 1:], torch.nan)], dim=1) for part in bank[:2]]
    with torch.inference_mode():
        assert torch.equal(net.reader.attend(key, bank), net.reader.attend(key, Bank(junk[0], junk[1], bank.valid)))


def test_any_frame_size_comes_back_at_its_own_size(net: Lite) -> None:
    for width, height in ((101, 57), (1, 1), (33, 64)):
        contract = contract_of(net, width=width, height=height)
        step = LiteStep(net, width=width, height=height)
        inputs = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in contract.inputs]
        states = [torch.from_numpy(spec.zeros()) for spec in contract.states]
        with torch.inference_mode():
            alpha, *after = step(*inputs, *states)
        assert alpha.shape == (1, 1, height, width)
        assert [s.shape for s in after] == [s.shape for s in states]


def test_folding_the_norms_changes_nothing_that_counts() -> None:
    torch.manual_seed(1)
    made = Lite()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_buffer("running_var", torch.rand(module.num_features) + 0.5)
            module.register_buffer("running_mean", torch.rand(module.num_features) - 0.5)
    made.eval()
    picture = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        before = made.encoder(picture)
        after = lite_step.fold(made).encoder(picture)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in made.modules())
    assert all((a - b).abs().max() <= FOLDED_MAX for a, b in zip(before, after, strict=True))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(ModelError, match="cannot read"):
        lite_step.load(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"weights\.pt is not a checkpoint"):
        lite_step.load(path)
