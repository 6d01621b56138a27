"""The contract between a model file and whoever runs it: every tensor's name, shape, dtype and meaning.

It is the only place that names a model tensor. It travels inside the ONNX file as one JSON metadata entry, so no
tensor is ever found by its index and no shape is ever guessed. It runs nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import ContractError
from rtmatte.modelfile import read_header

VERSION = 1
METADATA_KEY = "rtmatte.contract"

FRAME = "frame"  # [B,H,W,3] RGB, uint8 or float32 0..255
MASK = "mask"  # [B,1,H,W] 0..1, or -1 everywhere: "find the person"; read only where seed = 1
SEED = "seed"  # [B,1] 1: start over from `mask`
SETTLE = "settle"  # [B,1] 1: another pass over the frame of the seed
WRITE = "write"  # [B,T] one-hot: store this frame in that slot of the bank
ALPHA = "alpha"  # [B,1,H,W] 0..1
GATES = (SEED, SETTLE, WRITE)

Role = Literal["step", "head", "tail"]
DType = Literal["float32", "float16", "uint8"]


def after(state: str) -> str:
    """Returns the output name under which the state `state` leaves the graph."""
    return f"{state}_next"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a graph; `shape` is static and batch first."""

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in get_args(DType):
            raise ContractError(f"tensor {self.name!r}: expected one of {get_args(DType)}, found {self.dtype!r}")
        if not self.shape or any(not isinstance(n, int) or n < 1 for n in self.shape):
            raise ContractError(f"tensor {self.name!r}: expected a static shape, found {list(self.shape)}")

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def zeros(self) -> NDArray[Any]:
        """Returns a new array of this shape and dtype, all zero: the initial value of every state."""
        return np.zeros(self.shape, self.dtype)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a graph takes and gives.

    `inputs` are the frame, the mask and the gates, as far as the model has them, and in a tail what its head hands it;
    `states` enter under their name and leave, but for a head, as `after(name)`; `outputs` are the alpha, but for a
    tail, and in a head the tensors its tail takes. `slots` is the
    capacity T of the memory bank (0: none), slot 0 permanent; `write_every` the frames between two stores;
    `warmup` the passes over the first frame after the seed that the model was made for.
    `self_test` holds the block means of the alphas of `self_test_frames`, row-major, rounded.
    """

    model: str
    role: Role
    inputs: tuple[TensorSpec, ...]
    states: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    slots: int = 0
    write_every: int = 5
    warmup: int = 1
    variant: str = ""
    licence: str = ""
    weights_sha256: str = ""
    self_test: tuple[tuple[float, ...], ...] = ()
    version: int = field(default=VERSION)

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ContractError(f"expected contract version {VERSION}, found {self.version}; export the model again")
        if self.role not in get_args(Role):
            raise ContractError(f"expected a role of {get_args(Role)}, found {self.role!r}")
        names = [t.name for t in (*self.inputs, *self.states)]
        if len(set(names)) != len(names):
            raise ContractError(f"a contract names each tensor once; found {names}")
        if self.role != "tail":
            frame = self.input(FRAME)
            if len(frame.shape) != 4 or frame.shape[3] != 3:
                raise ContractError(f"expected a frame of [batch, height, width, 3], found {list(frame.shape)}")
        width, height = self.size
        self._check_shapes(self.batch, height, width)
        for name, least in (("slots", 0), ("write_every", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ContractError(f"expected {name} of at least {least}, found {value!r}")

    def _check_shapes(self, batch: int, height: int, width: int) -> None:
        known = {MASK: (1, height, width), SEED: (1,), SETTLE: (1,), WRITE: (self.slots,)}
        for spec in self.inputs:
            expected = (batch, *known.get(spec.name, spec.shape[1:]))
            if spec.shape != expected or (spec.name in known and spec.dtype != "float32"):
                raise ContractError(
                    f"expected {spec.name} {list(expected)} float32, found {list(spec.shape)} {spec.dtype}"
                )
        alphas = [spec.shape for spec in self.outputs if spec.name == ALPHA]
        if self.role != "tail" and alphas != [(batch, 1, height, width)]:
            raise ContractError(f"expected one {ALPHA} {[batch, 1, height, width]}, found {[list(a) for a in alphas]}")

    def input(self, name: str) -> TensorSpec:
        """Returns the input called `name`; ContractError when the model has none."""
        for spec in self.inputs:
            if spec.name == name:
                return spec
        raise ContractError(f"expected an input {name!r}, found {[t.name for t in self.inputs]}")

    def output(self, name: str) -> TensorSpec:
        """Returns the output called `name`; ContractError when the model has none."""
        for spec in self.outputs:
            if spec.name == name:
                return spec
        raise ContractError(f"expected an output {name!r}, found {[t.name for t in self.outputs]}")

    def takes(self, name: str) -> bool:
        """Whether the graph has an input called `name`: a model without gates simply does not."""
        return any(spec.name == name for spec in self.inputs)

    @property
    def results(self) -> tuple[TensorSpec, ...]:
        """What the graph gives, in its order: the outputs and, but for a head, every state under its next name."""
        if self.role == "head":
            return self.outputs
        return (*self.outputs, *(replace(spec, name=after(spec.name)) for spec in self.states))

    @property
    def batch(self) -> int:
        """Rows: one target of one stream each."""
        return self.input(SEED if self.role == "tail" else FRAME).shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frame the graph takes; a tail takes none: of the padded picture its head hands it."""
        if self.role != "tail":
            _, height, width, _ = self.input(FRAME).shape
            return width, height
        maps = [spec.shape[2:] for spec in self.inputs if len(spec.shape) == 4]
        if not maps:
            raise ContractError(f"expected a picture among a tail's inputs, found {[t.name for t in self.inputs]}")
        height, width = max(maps)
        return width, height

    @property
    def state_bytes(self) -> int:
        """Bytes of recurrent state for all rows of one step."""
        return sum(spec.nbytes for spec in self.states)

    def slot_of(self, ordinal: int, *, every: int | None = None) -> int | None:
        """Returns the slot that stores the `ordinal`-th ordinary frame after a seed (1, 2, ...), None for most frames.

        Every `every`-th frame (default: the contract's `write_every`) is stored, in slots 1..T-1 in turn; slot 0 is
        the first frame's for ever. A ring reads like a queue, since the order inside the bank does not matter.
        """
        stores, rest = divmod(ordinal, every or self.write_every)
        if rest or self.slots < 2 or stores < 1:
            return None
        return 1 + (stores - 1) % (self.slots - 1)

    def to_json(self) -> str:
        """Returns the JSON text that is stored in the model."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Returns the contract in `text`; ContractError when it is damaged or of another version."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("version") != VERSION:
                raise ContractError(
                    f"expected contract version {VERSION}, found {raw.get('version')}; export the model again"
                )
            for part in ("inputs", "states", "outputs"):
                raw[part] = tuple(TensorSpec(t["name"], tuple(t["shape"]), t["dtype"]) for t in raw[part])
            raw["self_test"] = tuple(tuple(float(mean) for mean in row) for row in raw["self_test"])
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if isinstance(error, ContractError):
                raise
            raise ContractError(f"the contract in the model is damaged ({error}); export the model again") from error


@dataclass(frozen=True, slots=True)
class Gates:
    """What this call is, for every row: the arrays the graph reads, made once and rewritten in place.

    `seed`, `settle` (B, 1) and `write` (B, T) are float32 zeros and ones and exclude each other; all zero is an
    ordinary frame.
    """

    seed: NDArray[np.float32]
    settle: NDArray[np.float32]
    write: NDArray[np.float32]

    @classmethod
    def for_contract(cls, contract: Contract) -> Gates:
        """Returns gates of the contract's batch and slots, all rows ordinary."""
        rows = contract.batch
        flags = [np.zeros((rows, n), np.float32) for n in (1, 1, max(1, contract.slots))]
        return cls(*flags)

    def clear(self) -> None:
        """Makes the call an ordinary frame in every row."""
        for array in (self.seed, self.settle, self.write):
            array.fill(0.0)

    def set_seed(self, row: int = 0) -> None:
        """Makes `row` start over from its mask."""
        self._set(row, self.seed, 0)

    def set_settle(self, row: int = 0) -> None:
        """Makes `row` another pass over the frame of its seed."""
        self._set(row, self.settle, 0)

    def set_write(self, slot: int, row: int = 0) -> None:
        """Makes `row` store its frame in `slot` of the bank."""
        self._set(row, self.write, slot)

    def _set(self, row: int, gate: NDArray[np.float32], column: int) -> None:
        for array in (self.seed, self.settle, self.write):
            array[row] = 0.0
        gate[row, column] = 1.0


def self_test_frames(contract: Contract, count: int = 3) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Returns the self-test's input: `count` frames [N,B,H,W,3] in the contract's dtype and the mask [B,1,H,W].

    A bright disc moves over a dark ramp; integer arithmetic only, so every machine makes the same bytes.
    """
    batch, height, width, _ = contract.input(FRAME).shape
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 96 // width, y * 96 // height, (x + y) * 64 // (width + height)], axis=-1)
    radius = min(width, height) // 4
    frames, mask = [], np.zeros((height, width), np.float32)
    for n in range(count):
        cx, cy = width // 2 + n * max(1, width // 32), height // 2
        disc = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        if n == 0:
            mask = disc.astype(np.float32)
        frames.append(np.where(disc[..., None], np.array([200, 160, 140]), ramp))
    stack = np.stack(frames).astype(contract.input(FRAME).dtype)
    return np.repeat(stack[:, None], batch, axis=1), np.repeat(mask[None, None], batch, axis=0)


def block_means(alpha: NDArray[Any], blocks: int = 8) -> tuple[float, ...]:
    """Returns the means of an alpha (H, W) over a `blocks` x `blocks` grid, row-major, rounded to 5 digits.

    uint8 alphas are read as 0..1.
    """
    values = alpha.astype(np.float64) / (255.0 if alpha.dtype == np.uint8 else 1.0)
    rows = np.array_split(values, min(blocks, values.shape[0]), axis=0)
    return tuple(
        round(float(cell.mean()), 5) for row in rows for cell in np.array_split(row, min(blocks, row.shape[1]), axis=1)
    )


def read_contract(path: Path) -> Contract:
    """Returns the contract stored in the ONNX file `path`, without a protobuf library and without reading weights.

    Raises ContractError for a file that is truncated, is not ONNX, or carries no contract.
    """
    text = read_header(path).metadata.get(METADATA_KEY)
    if text is None:
        raise ContractError(f"{path} carries no {METADATA_KEY!r} entry; make it with `python -m export`")
    return Contract.from_json(text)
