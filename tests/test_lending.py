"""What an engine lends on a device that records: when it is copied, how long it stands, and how much there is of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.contract import ALPHA, FRAME, MASK, Contract, Gates, TensorSpec
from rtmatte.errors import EngineError
from rtmatte.frame import OnDevice
from rtmatte.handover import Handover
from rtmatte.lending import MOST
from rtmatte.resident import ResidentEngine
from rtmatte.step import Lender
from tests.fake_cuda import FakeDevice, engine_of
from tests.toy_model import toy_contract

Bytes = NDArray[np.uint8]


def in_bytes(contract: Contract) -> Contract:
    """Returns the contract for frames of bytes."""
    frame = TensorSpec(FRAME, contract.input(FRAME).shape, "uint8")
    return replace(contract, inputs=tuple(frame if spec.name == FRAME else spec for spec in contract.inputs))


class Played:
    """A stream on an engine of the toy; frame `n` is all of the level n."""

    def __init__(self, *roles: str, capturable: bool = True) -> None:
        self.contract = in_bytes(toy_contract())
        self.device = FakeDevice()
        self.engine = engine_of(self.contract, self.device, *roles, capturable=capturable)
        self._gates, self._state = Gates.for_contract(self.contract), self.engine.new_state()
        self._gates.set_seed()
        self.number = 0

    def step(self) -> NDArray[np.float32]:
        spec = self.contract.input(FRAME)
        mask = np.full(self.contract.input(MASK).shape, 0.5, np.float32)
        frame = np.full(spec.shape, self.number, np.uint8)
        alpha, self._state = self.engine.step(frame, mask, self._gates, self._state)
        self._gates.clear()
        self.number += 1
        return np.asarray(alpha).copy()

    def read(self, lent: OnDevice) -> tuple[Bytes, NDArray[np.float32]]:
        """Returns what lies on the device."""
        frame, alpha = self.contract.input(FRAME), self.contract.output(ALPHA)
        return (
            self.device.at(lent.pixels, frame.nbytes).reshape(frame.shape).copy(),
            self.device.at(lent.alpha, alpha.nbytes).view(np.float32).reshape(alpha.shape).copy(),
        )


@pytest.mark.parametrize("roles", [("step",), ("head", "tail")])
@pytest.mark.parametrize("capturable", [True, False])
def test_what_is_lent_is_the_last_steps_frame_and_alpha_and_it_stands_while_others_come(
    roles: tuple[str, ...], capturable: bool
) -> None:
    played = Played(*roles, capturable=capturable)
    played.step()
    assert played.engine.lent() is None  # by which the engine learns that somebody asks
    kept = []
    for number in range(1, MOST + 1):
        alpha = played.step()
        kept.append((number, alpha, played.engine.lent()))

    for number, alpha, lent in kept:
        assert lent is not None
        frame, found = played.read(lent)
        assert (frame == number).all()
        np.testing.assert_array_equal(found, alpha)


@pytest.mark.parametrize("roles", [("step",), ("head", "tail")])
def test_it_is_there_when_the_alpha_is_and_nobody_waits_for_the_tail(roles: tuple[str, ...]) -> None:
    played = Played(*roles, capturable=False)
    played.step()
    played.engine.lent()
    played.step()  # which takes the memory
    played.engine.lent()
    played.device.calls.clear()

    played.step()

    calls = played.device.calls
    copies = [place for place, call in enumerate(calls) if call.startswith("copy")]
    assert [calls[place] for place in copies] == ["copy 384", "copy 512"]
    assert calls.index("download") < copies[0]
    assert copies[1] < calls.index("mark")
    if "tail" in roles:
        assert calls.index("mark") < calls.index("enqueue tail")


def test_what_nobody_holds_is_filled_again_and_no_frame_allocates() -> None:
    played = Played()
    played.step()
    played.engine.lent()
    addresses = set()
    for _ in range(3):
        played.step()
        lent = played.engine.lent()
        assert lent is not None
        addresses.add(lent.pixels)
        before = played.device.allocations
    for _ in range(20):
        played.step()
        lent = played.engine.lent()

    assert played.device.allocations == before
    assert len(addresses) <= 2  # one is held while the next one is filled


def test_who_keeps_too_many_is_lent_no_more_until_some_are_let_go_of() -> None:
    played = Played()
    played.step()
    played.engine.lent()
    held: list[OnDevice | None] = []
    for _ in range(MOST + 2):
        played.step()
        held.append(played.engine.lent())
    assert [lent is not None for lent in held] == [True] * MOST + [False] * 2

    del held[0]
    played.step()
    again = played.engine.lent()

    assert again is not None
    assert (played.read(again)[0] == played.number - 1).all()


def test_what_was_not_asked_for_is_not_lent_later() -> None:
    played = Played()
    played.step()
    played.engine.lent()
    played.step()
    played.step()

    lent = played.engine.lent()

    assert lent is not None
    assert (played.read(lent)[0] == 2).all()
    assert played.engine.lent() is None


def test_floats_are_not_lent() -> None:
    contract = toy_contract()
    device = FakeDevice()
    engine = engine_of(contract, device)
    gates, state = Gates.for_contract(contract), engine.new_state()
    for _ in range(3):
        _, state = engine.step(contract.input(FRAME).zeros(), None, gates, state)
        assert engine.lent() is None

    assert not [call for call in device.calls if call.startswith("copy")]


def test_a_handover_lends_what_the_engine_that_runs_lends() -> None:
    played, gate = Played(), []

    def make() -> ResidentEngine:
        gate.append("made")
        raise EngineError("no plan")

    handover = Handover(played.engine, make, gate.append)
    assert handover.wait(10)
    played.engine = handover  # type: ignore[assignment]
    played._state = handover.new_state()  # the stream begins on it
    played.step()

    assert isinstance(handover, Lender)
    assert handover.lent() is None
    played.step()
    lent = handover.lent()
    assert lent is not None
    assert (played.read(lent)[0] == 1).all()


def test_a_closed_engine_lends_nothing() -> None:
    played = Played()
    played.engine.close()

    with pytest.raises(EngineError, match="closed"):
        played.engine.lent()
