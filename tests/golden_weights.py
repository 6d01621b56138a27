"""Recipe weights for MatAnyone: random numbers that any machine makes alike, in place of a checkpoint.

The names and shapes are committed in `golden/state_dict.json`; a rules file says how large each tensor's numbers are.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rtmatte.network.matanyone.net import MatAnyone

GOLDEN = Path(__file__).parent / "golden"
LISTING = GOLDEN / "state_dict.json"

Rules = dict[str, Any]


def listing() -> list[tuple[str, tuple[int, ...], str]]:
    """Returns (name, shape, dtype) of every entry of MatAnyone's state dict, in its order."""
    entries = json.loads(LISTING.read_text())
    return [
        (name, tuple(shape), "int64" if name.endswith("num_batches_tracked") else "float32") for name, shape in entries
    ]


@functools.cache
def golden_network(rules_file: Path) -> MatAnyone:
    """Returns the network with the weights of a rules file, checked against the sums that the file holds."""
    rules: Rules = json.loads(rules_file.read_text())
    state = {name: _tensor(name, shape, dtype, rules) for name, shape, dtype in listing()}
    for name, expected in rules["crc32"].items():
        assert zlib.crc32(state[name].tobytes()) == expected, f"{name} is not what {rules_file.name} describes"
    digest = hashlib.sha256()
    for values in state.values():
        digest.update(values.tobytes())
    assert digest.hexdigest() == rules["sha256_all_tensors_in_order"], f"the weights are not those of {rules_file.name}"
    net = MatAnyone()
    net.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
    return net.eval().requires_grad_(False)


def _tensor(name: str, shape: tuple[int, ...], dtype: str, rules: Rules) -> NDArray[Any]:
    """Returns one tensor of the recipe."""
    if dtype == "int64":
        return np.zeros(shape, np.int64)
    if name.endswith("inv_freq"):
        return (1.0 / 128.0 ** (np.arange(0, 128, 2) / 128.0)).astype(np.float32)
    noise = _noise(name, shape, rules["seed"])
    if len(shape) == 1:
        scale, centre, reach = _vector(name, rules)
        return np.asarray(scale * (centre + reach * noise), np.float32)
    gain = _first_match(name, rules["gain"], rules["default_gain"])
    fan_in = int(np.prod(shape[1:]))
    values = gain * np.sqrt(3.0 / fan_in) * noise
    for channel, factor in rules["in_channel_scale"].get(name, []):
        values[:, channel] *= factor
    return np.asarray(values, np.float32)


def _vector(name: str, rules: Rules) -> tuple[float, float, float]:
    """Returns the scale of a vector's numbers and, before it, their centre and how far they lie from it at most."""
    if name.endswith("running_mean"):
        return 1.0, 0.0, 0.1
    if name.endswith("running_var"):
        return 1.0, 1.0, 0.5
    if name.endswith("weight"):
        return _first_match(name, rules["norm_scale"], 1.0), 1.0, 0.2
    centre, reach = rules["bias"].get(name, (0.0, 0.1))
    return 1.0, centre, reach


def _first_match(name: str, patterns: list[Any], otherwise: float) -> float:
    """Returns the number of the first [[prefix, suffix], number] that fits the name."""
    for (prefix, suffix), number in patterns:
        if name.startswith(prefix) and name.endswith(suffix):
            return float(number)
    return otherwise


def _noise(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Returns numbers in [-1, 1) that depend on the name and the seed only."""
    generator = np.random.PCG64(seed << 32 | zlib.crc32(name.encode()))
    bits = np.asarray(generator.random_raw(int(np.prod(shape))), np.uint64) >> np.uint64(11)
    return (bits.astype(np.float64) * 2.0**-52 - 1.0).reshape(shape)
