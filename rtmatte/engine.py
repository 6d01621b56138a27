"""The door to a model: `open_engine` checks the file, picks a backend and lets it prove itself.

An ONNX file holds a graph of standard operators and no code, so a file the user names is opened although nobody has
vouched for it, and that is said. What is refused is a file that is not what it was: one whose sha256 differs from the
manifest's, or from the seal that export put on it. Checkpoints are read with `weights_only`, which runs no code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from rtmatte import backends, models
from rtmatte.backends import AUTO, Backend, Options
from rtmatte.contract import Gates, block_means, self_test_frames
from rtmatte.errors import (
    BackendError,
    BackendMissing,
    EngineError,
    ModelError,
    PlanMissing,
    RtmatteError,
    UntrustedModelError,
)
from rtmatte.handover import Handover
from rtmatte.modelfile import Seal, read_seal, sha256_of
from rtmatte.step import Array, Engine, State

__all__ = ["Array", "Engine", "State", "open_engine", "self_test", "sha256_of"]

# Largest difference of a block mean in the self-test. Backends that work differ by less than 0.002, in half precision
# too; one that does not is off by tenths.
SELF_TEST_TOLERANCE = 0.01

Note = Callable[[str], None]

FREE_LICENCES = frozenset({"", "MIT"})  # which a user need not be told of


def open_engine(
    model: str | Path,
    *,
    backend: str = AUTO,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    trust: bool = False,
    note: Note | None = None,
) -> Engine:
    """Returns an engine for `model`: the name of a bundled one, an ONNX file, a checkpoint, or a TensorRT plan.

    `size` (width, height) chooses among a name's graphs and gives a checkpoint its frame size. `trust` opens a file
    whose hash is wrong. `note` hears, a line at a time, what a user should know: a file nobody vouched for, a backend
    that is installed but was skipped, and why, a licence that asks something of them. Which backend runs is
    `engine.backend`; where the best one has no plan yet, the next one serves while it is built, and hands over then.
    Raises ModelError for a file that cannot be used, UntrustedModelError for a changed one, and BackendError with
    every backend's reason when none can run it; a backend that was asked for is never replaced by another.
    """
    say = note or _silent
    path = locate(model, size)
    able = backends.candidates(path, backend)
    check_hash(path, trust=trust, say=say)
    engine = _first_of(able, path, Options(size, threads), say)
    if engine.contract.licence not in FREE_LICENCES:
        say(engine.contract.licence)
    return engine


def _first_of(able: tuple[Backend, ...], path: Path, options: Options, say: Note) -> Engine:
    """Returns the engine of the first backend that proves itself; one without its plan takes over when that is built.

    The last one, or the only one that was asked for, is waited for where its plan takes seconds.
    """
    reasons, better = [], None
    for candidate in able:
        try:
            engine = _proven(candidate, path, options)
        except PlanMissing as missing:
            later = partial(_built, missing, candidate, path, options)
            if candidate is able[-1] and missing.quick:
                say(f"building a plan of {path.name}: some seconds, once")
                return later()
            reasons.append(f"{candidate.name}: {missing}")
            better = better or later
        except (BackendError, EngineError) as error:
            reasons.append(f"{candidate.name}: {error}")
            if candidate is not able[-1] and not isinstance(error, BackendMissing):
                say(f"skipped {reasons[-1]}")
        else:
            if better is None:
                return engine
            say(f"{engine.backend} serves while a faster plan of {path.name} is built")
            return Handover(engine, better, say)
    raise BackendError(f"no backend can run {path.name}. " + " | ".join(reasons))


def _built(missing: PlanMissing, candidate: Backend, path: Path, options: Options) -> Engine:
    missing.build()
    return _proven(candidate, path, options)


def self_test(engine: Engine) -> tuple[tuple[float, ...], ...]:
    """Returns the block means of the alphas that `engine` gives for the frames of the self-test, one row a frame.

    The calls are those of a stream: a seed and a settling pass on the first frame, then ordinary frames, all rows
    alike; the first row of the batch is looked at. Raises EngineError when an alpha is not finite.
    """
    contract = engine.contract
    frames, mask = self_test_frames(contract)
    gates, state = Gates.for_contract(contract), engine.new_state()
    for row in range(contract.batch):
        gates.set_seed(row)
    _, state = engine.step(frames[0], mask, gates, state)
    for row in range(contract.batch):
        gates.set_settle(row)
    means = []
    for frame in frames:
        alpha, state = engine.step(frame, mask, gates, state)
        if not np.isfinite(alpha).all():
            raise EngineError("its self-test gives an alpha that is not finite; the model or the backend is broken")
        means.append(block_means(alpha[0, 0]))
        gates.clear()
    return tuple(means)


def locate(model: str | Path, size: tuple[int, int] | None = None) -> Path:
    """Returns the file of `model`, the name of a bundled one or a file; ModelError when there is none."""
    path = Path(model)
    if isinstance(model, str) and path.name == model and not path.suffix:
        return models.find(model, size)
    if not path.is_file():
        known = ", ".join(map(str, models.listing())) or "none"
        raise ModelError(f"no model file {path}; give one that exists, or the name of a bundled one: {known}")
    return path


def check_hash(path: Path, *, trust: bool, say: Note) -> None:
    """Raises UntrustedModelError for a file that was changed since it was listed or sealed, unless it is trusted."""
    try:
        recorded = models.recorded_sha256(path)
        seal = read_seal(path) if recorded is None else Seal(recorded, sha256_of(path))
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error
    if seal is None:
        if path.suffix.lower() in backends.ONNX:
            say(f"{path} has no seal, so nobody can tell whether it is as it was exported")
    elif seal.recorded != seal.found:
        sentence = f"{path} was changed or damaged: expected sha256 {seal.recorded}, found {seal.found}"
        if not trust:
            raise UntrustedModelError(f"{sentence}; export or install it again, or say --trust")
        say(sentence)


def _silent(sentence: str) -> None:
    """Takes a note nobody asked for."""


def _proven(backend: Backend, path: Path, options: Options) -> Engine:
    """Returns the backend's engine once its self-test agrees with the contract's, where the contract has one."""
    engine = backend.open(path, options)
    try:
        means, expected = self_test(engine), engine.contract.self_test
        if expected:
            _compare(means, expected)
    except RtmatteError:
        engine.close()
        raise
    return engine


def _compare(means: tuple[tuple[float, ...], ...], expected: tuple[tuple[float, ...], ...]) -> None:
    if [len(row) for row in means] != [len(row) for row in expected]:
        raise ModelError("the self-test in the model's contract is of another kind; export the model again")
    worst = float(np.abs(np.array(means) - np.array(expected)).max())
    if not worst <= SELF_TEST_TOLERANCE:
        raise BackendError(
            f"its self-test is off by {worst:.3g} (allowed {SELF_TEST_TOLERANCE}): this backend computes something else"
        )
