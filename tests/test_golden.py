"""MatAnyone's eager step against the reference's stored alphas and intermediates.

RTMATTE_GOLDEN names another folder of files in the same format. A file that cannot be used fails its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtmatte.network.matanyone.step import Step, StepState, state_specs
from tests.assertions import assert_golden_alpha, assert_golden_part, assert_golden_sum, assert_same_picture
from tests.golden_clip import Call, GoldenClip, golden_files

Record = dict[str, NDArray[Any]]  # what one call computed, by the names of the golden files

# Which part's output is which recorded array.
PARTS: dict[str, Callable[[Any], dict[str, Tensor]]] = {
    "net.pixel_encoder": lambda out: {"f16": out.f16, "f8": out.f8, "f4": out.f4, "f2": out.f2},
    "net.pix_feat_proj": lambda out: {"pix_feat": out},
    "net.key_proj": lambda out: {"key": out.key, "shrinkage": out.shrinkage, "selection": out.selection},
    "reader": lambda out: {"attn_readout": out.flatten(2)},
    "net.temp_sparity": lambda out: {"uncert_prob": out},
    "net.pixel_fuser": lambda out: {"fused_pixel": out},
    "net.object_transformer": lambda out: {"memory_readout": out},
    "net.object_transformer.mask_pred.0": lambda out: {"logits0": out},
    "net.object_transformer.mask_pred.1": lambda out: {"logits1": out},
    "net.object_transformer.mask_pred.2": lambda out: {"logits2": out},
    "net.mask_decoder": lambda out: {"raw_alpha": out[0][:, 0], "sensory_after_decoder": out[1]},
    "net.mask_encoder": lambda out: {"mask_value": out},
    "net.object_summarizer": lambda out: {"summary": out},
}


@contextmanager
def recorded(step: Step) -> Iterator[Record]:
    """Gives a dictionary that every call of the step fills with what its parts computed."""
    record: Record = {}

    def keep(named: Callable[[Any], dict[str, Tensor]]) -> Callable[[nn.Module, Any, Any], None]:
        return lambda part, given, out: record.update({name: t[0].numpy() for name, t in named(out).items()})

    handles = [step.stages.get_submodule(part).register_forward_hook(keep(named)) for part, named in PARTS.items()]
    yield record
    for handle in handles:
        handle.remove()


def run(clip: GoldenClip) -> tuple[NDArray[np.float32], list[Record]]:
    """Returns the alphas [calls,H,W] of the clip at output size and what every call computed."""
    frames, mask = torch.from_numpy(clip.frames()), torch.from_numpy(clip.mask())[None, None] / 255
    height, width = frames.shape[1:3]
    slots = clip.params.max_mem_frames
    step = Step(clip.network(), width=width, height=height, read="topk", top_k=clip.params.top_k)
    specs = state_specs(width=width, height=height, slots=slots)
    states = [torch.from_numpy(spec.zeros()) for spec in specs]
    alphas, records = [], []
    with torch.inference_mode(), recorded(step) as record:
        for call in clip.calls():
            alpha, *states = step(frames[call.frame][None], mask, *_gates(call, slots), *states)
            alphas.append(clip.at_output_size(alpha[0, 0].numpy()))
            records.append(_with_state(record, StepState(*states), clip))
    return np.stack(alphas), records


def _gates(call: Call, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    write = torch.zeros(1, slots)
    if call.slot is not None:
        write[0, call.slot] = 1
    return torch.tensor([[float(call.seed)]]), torch.tensor([[float(call.settle)]]), write


def _with_state(record: Record, state: StepState, clip: GoldenClip) -> Record:
    """Returns what a call computed together with the state it left, by the names of the golden files."""
    valid = state.bank_valid[0] > 0.5
    key, value = state.bank_key[0][valid].double(), state.bank_value[0][valid].double()
    last_mask_pred = clip.network().object_transformer.mask_pred[3]
    logits = [record[f"logits{n}"] for n in range(3)]
    logits.append(last_mask_pred(torch.from_numpy(record["memory_readout"])).numpy())
    return record | {
        "query_mask_logits": np.concatenate(logits),
        "sensory_end": state.sensory[0].numpy(),
        "last_value": state.last_value[0].numpy(),
        "object_memory": state.object_memory[0].numpy(),
        "bank_tokens": np.asarray(key.shape[0] * key.shape[1]),
        "bank_key_sum": np.asarray(key.sum()),
        "bank_value_sum": np.asarray(value.sum()),
        "bank_key_scale": np.asarray(key.std() * key.numel()),
        "bank_value_scale": np.asarray(value.std() * value.numel()),
    }


def assert_recorded(name: str, expected: NDArray[Any], records: list[Record]) -> None:
    """Fails when a recorded array of a golden file is not what the calls computed."""
    kind, _, part = name.partition("_")
    if kind == "final":
        assert_golden_part(records[-1][part], expected, name)
    elif kind == "frame0":
        assert_golden_part(records[0][part], expected, name)
    elif kind == "step":
        computed = ~np.isnan(expected.reshape(len(expected), -1)).all(axis=1)  # the reference skips parts of some calls
        found = np.stack([record[part] for record in records])[computed]
        if name.endswith("_sum"):
            scale = np.stack([record[part.replace("_sum", "_scale")] for record in records])[computed]
            assert_golden_sum(found, expected[computed], scale, name)
        elif name.endswith("_tokens"):
            np.testing.assert_array_equal(found, expected[computed], name)
        else:
            assert_golden_part(found, expected[computed], name)


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"golden-{path.stem}")
def test_the_step_gives_the_alphas_and_intermediates_of_the_reference(path: Path) -> None:
    clip = GoldenClip.load(path)

    alphas, records = run(clip)

    first = clip.params.n_warmup + 1  # the last pass over frame 0 gives its alpha
    assert_golden_alpha(alphas[first:], clip.arrays["alpha"], "alpha")
    if "alpha_warmup" in clip.arrays:
        assert_golden_alpha(alphas[1 : first + 1], clip.arrays["alpha_warmup"], "alpha_warmup")
    for name, expected in clip.arrays.items():
        assert_recorded(name, expected, records)


def no_archive(path: Path, whole: dict[str, Any]) -> None:
    path.write_text("this is a letter to a friend, not a clip")


def cut_short(path: Path, whole: dict[str, Any]) -> None:
    np.savez(path, **whole)
    path.write_bytes(path.read_bytes()[:-2000])


def without_alphas(path: Path, whole: dict[str, Any]) -> None:
    np.savez(path, **{name: array for name, array in whole.items() if name != "alpha"})


def of_unknown_weights(path: Path, whole: dict[str, Any]) -> None:
    np.savez(path, **whole)


def no_file(path: Path, whole: dict[str, Any]) -> None:
    path.mkdir()


@pytest.mark.parametrize("damage", [no_archive, cut_short, without_alphas, of_unknown_weights, no_file])
def test_a_golden_file_that_cannot_be_used_fails_and_is_not_skipped(
    damage: Callable[[Path, dict[str, Any]], None], tmp_path: Path
) -> None:
    params = '{"weights": "seed9", "n_warmup": 1, "r_erode": 0, "r_dilate": 0, "mem_every": 5, "max_mem_frames": 5,'
    params += ' "top_k": 30, "max_size": -1, "max_internal_size": -1}'
    frames, alpha = np.zeros((2, 80, 96, 3), np.uint8), np.zeros((2, 80, 96), np.float32)
    damage(tmp_path / "clip.npz", {"frames": frames, "alpha": alpha, "params": np.array(params)})

    with pytest.raises((ValueError, KeyError, OSError, BadZipFile)):
        run(GoldenClip.load(tmp_path / "clip.npz"))


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"golden-{path.stem}")
def test_the_first_mask_is_treated_and_resized_as_in_the_reference(path: Path) -> None:
    clip = GoldenClip.load(path)

    mask = clip.mask()

    assert_same_picture(mask, clip.arrays["mask_used"], "mask")
