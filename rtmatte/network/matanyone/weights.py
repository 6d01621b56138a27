"""Loading MatAnyone's weights: `.safetensors`, or `.pth` read as plain tensors. No code in a file is ever run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtmatte.errors import BackendMissing, ModelError
from rtmatte.modelfile import sha256_of
from rtmatte.network.matanyone.net import MatAnyone

LICENCE = "MatAnyone's released weights: NTU S-Lab License 1.0, for non-commercial use only."

# No frame depends on these entries, so a file may lack them.
_UNUSED_PREFIXES = ("aux_computer.", "mask_decoder.pred_seg.", "object_transformer.mask_pred.3.")
_UNUSED_SUFFIX = ".num_batches_tracked"
# Constants of the network that are not part of its state dict; a file may repeat them.
_REPEATED = ("pixel_mean", "pixel_std")
# Trained with several objects, these see the other objects in one more input channel, the last.
_OTHER_OBJECTS = {"mask_encoder.conv1.weight": 5, "pixel_fuser.sensory_compress.weight": 258}


@dataclass(frozen=True, slots=True)
class Weights:
    """A network with a file's weights, ready to infer, and the licence line that its user is to see once."""

    net: MatAnyone
    licence: str
    sha256: str


def load(path: Path) -> Weights:
    """Returns the network with the weights of `path`.

    Raises ModelError for a file that is missing, damaged, holds anything but tensors or not MatAnyone's: entries that
    are missing, too many, of another shape or not finite are listed by name.
    """
    net = MatAnyone()
    expected = net.state_dict()
    found = _single_object(_flat(path, _read(path)))
    faults = _faults(expected, found)
    if faults:
        raise ModelError(
            f"{path} does not hold the weights of MatAnyone: {'; '.join(faults)}. "
            "Expected matanyone.pth, matanyone2.pth or a .safetensors copy of one"
        )
    net.load_state_dict({name: found.get(name, value) for name, value in expected.items()})
    return Weights(net.eval().requires_grad_(False), LICENCE, sha256_of(path))


def _read(path: Path) -> Any:
    """Returns what the file holds, as far as it is plain data."""
    if not path.is_file():
        raise ModelError(f"expected a file of weights at {path}, found none; check the path")
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise BackendMissing("reading .safetensors needs the package safetensors: pip install safetensors") from error
    except Exception as error:  # a damaged or hostile file fails anywhere inside the reader, with any exception
        raise ModelError(
            f"{path} is damaged, incomplete or holds more than plain tensors ({type(error).__name__}); "
            "nothing in it was run. Download it again"
        ) from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file  # only needed for files of this kind

    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def _flat(path: Path, content: Any) -> dict[str, Tensor]:
    """Returns the entries by their plain names, out of a training checkpoint or a wrapped model's file too."""
    if isinstance(content, Mapping) and isinstance(content.get("weights"), Mapping):
        content = content["weights"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds something else than named tensors; expected matanyone.pth or matanyone2.pth")
    named = {str(name).removeprefix("module."): value for name, value in content.items()}
    return {name: value for name, value in named.items() if name not in _REPEATED}


def _single_object(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the entries without the channel for other objects, where a file has it in both of its places."""
    if all(name in found and found[name].ndim == 4 and found[name].shape[1] == n for name, n in _OTHER_OBJECTS.items()):
        return found | {name: found[name][:, :-1] for name in _OTHER_OBJECTS}
    return found


def _faults(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Returns what keeps `found` from being MatAnyone's weights; empty when nothing does."""
    common = expected.keys() & found.keys()
    odd_shape = (
        f"{name} {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in common and found[name].shape != expected[name].shape
    )
    odd_type = (
        f"{name} ({found[name].dtype})"
        for name in expected
        if name in common and expected[name].is_floating_point() and not found[name].is_floating_point()
    )
    kinds = {
        "missing": (name for name in expected if name not in found and not _unused(name)),
        "unknown": (name for name in found if name not in expected),
        "of another shape": odd_shape,
        "not floating point": odd_type,
        "with NaN or infinity": (name for name, value in found.items() if not bool(value.isfinite().all())),
    }
    return [f"{kind}: {listed}" for kind, names in kinds.items() if (listed := _listed(names))]


def _unused(name: str) -> bool:
    return name.startswith(_UNUSED_PREFIXES) or name.endswith(_UNUSED_SUFFIX)


def _listed(names: Iterable[str], most: int = 20) -> str:
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
