"""MatAnyone's entries, and files that hold them, hold something else, or hold nothing good."""

from __future__ import annotations

import hashlib
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtmatte.errors import ModelError
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.network.matanyone.weights import load
from tests.golden_weights import listing

Entries = dict[str, Tensor]


@pytest.fixture
def entries() -> Entries:
    """A checkpoint of constants, another in every entry; a file of them is small, as each stores one number."""
    return {name: _constant(name).expand(shape) for name, shape, _ in listing()}


def _constant(name: str) -> Tensor:
    number = zlib.crc32(name.encode()) % 1000
    return torch.tensor(number) if name.endswith("num_batches_tracked") else torch.tensor(number / 1000)


def saved(folder: Path, content: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


def test_the_network_has_the_entries_of_the_released_files_in_their_order() -> None:
    found = [(n, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in MatAnyone().state_dict().items()]

    assert found == listing()


def test_a_pth_file_gives_its_entries_its_hash_and_the_licence(tmp_path: Path, entries: Entries) -> None:
    path = saved(tmp_path, entries)

    weights = load(path)

    assert all(torch.equal(value, entries[name]) for name, value in weights.net.state_dict().items())
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "non-commercial" in weights.licence
    assert not weights.net.training


def test_a_safetensors_file_gives_its_entries(tmp_path: Path, entries: Entries) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({name: value.half().contiguous() for name, value in entries.items()}, path)

    net = load(path).net

    assert all(torch.equal(value.half(), entries[name].half()) for name, value in net.state_dict().items())


@pytest.mark.parametrize("wrap", ["checkpoint", "module prefix", "repeated constants", "no training entries"])
def test_harmless_differences_between_files_do_not_matter(tmp_path: Path, entries: Entries, wrap: str) -> None:
    variants: dict[str, Any] = {
        "checkpoint": {"it": 7, "weights": entries},
        "module prefix": {f"module.{name}": value for name, value in entries.items()},
        "repeated constants": entries | {"pixel_mean": torch.zeros(3, 1, 1)},
        "no training entries": {n: v for n, v in entries.items() if "aux_computer" not in n and "tracked" not in n},
    }

    net = load(saved(tmp_path, variants[wrap])).net

    name = "mask_decoder.pred_mat.weight"
    assert torch.equal(net.state_dict()[name], entries[name])


def test_the_channel_for_other_objects_is_cut_off(tmp_path: Path, entries: Entries) -> None:
    conv, compress = "mask_encoder.conv1.weight", "pixel_fuser.sensory_compress.weight"
    widened = {
        name: torch.cat([entries[name], torch.full_like(entries[name][:, :1], 9)], 1) for name in (conv, compress)
    }

    state = load(saved(tmp_path, entries | widened)).net.state_dict()

    assert torch.equal(state[conv], entries[conv])
    assert torch.equal(state[compress], entries[compress])


def test_missing_unknown_misshaped_and_damaged_entries_are_listed_by_name(tmp_path: Path, entries: Entries) -> None:
    del entries["key_proj.d_proj.bias"]
    entries["visitor.weight"] = torch.zeros(1)
    entries["pix_feat_proj.bias"] = torch.zeros(255)
    entries["mask_encoder.bn1.bias"] = torch.full((64,), torch.nan)

    with pytest.raises(ModelError) as error:
        load(saved(tmp_path, entries))

    for fault in (
        "missing: key_proj.d_proj.bias",
        "unknown: visitor.weight",
        "with NaN or infinity: mask_encoder.bn1.bias",
    ):
        assert fault in str(error.value)
    assert "of another shape: pix_feat_proj.bias [255] instead of [256]" in str(error.value)


def test_one_wide_entry_without_the_other_is_a_wrong_shape(tmp_path: Path, entries: Entries) -> None:
    entries["mask_encoder.conv1.weight"] = torch.zeros(64, 5, 7, 7)

    with pytest.raises(ModelError, match=r"mask_encoder\.conv1\.weight \[64, 5, 7, 7\] instead of \[64, 4, 7, 7\]"):
        load(saved(tmp_path, entries))


def test_another_networks_file_is_refused_with_a_short_list(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing: .* and \d+ more; unknown: fc\.weight"):
        load(saved(tmp_path, {"fc.weight": torch.zeros(10, 10)}))


@pytest.mark.parametrize("content", [[1, 2, 3], {"epoch": 3}, torch.zeros(2)], ids=["list", "numbers", "tensor"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match="something else than named tensors"):
        load(saved(tmp_path, content))


class Intruder:
    """Unpickled by a careless loader, makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("container", ["pickle", "zip"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, container: str) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    if container == "zip":
        torch.save({"weights": Intruder(proof)}, path)
    else:
        path.write_bytes(pickle.dumps(Intruder(proof)))

    with pytest.raises(ModelError, match="nothing in it was run"):
        load(path)

    assert not proof.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path: Path, entries: Entries, suffix: str, kept: float) -> None:
    from safetensors.torch import save_file

    whole = tmp_path / "whole"
    some = {name: entries[name].contiguous() for name in list(entries)[:6]}
    if suffix == ".pth":
        torch.save(some, whole)
    else:
        save_file(some, whole)
    data = whole.read_bytes()
    path = tmp_path / f"part{suffix}"
    path.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])

    with pytest.raises(ModelError, match="damaged, incomplete"):
        load(path)


def test_a_file_that_does_not_exist_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.pth"):
        load(tmp_path / "nowhere.pth")
