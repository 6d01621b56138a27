"""Plans without TensorRT: what is built for which GPU, and what a sidecar is worth once anything has changed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rtmatte.contract import GATES, MASK, Contract, TensorSpec
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendError, ContractError, InputError, PlanError
from rtmatte.plan.build import aim, build_plan, graphs_of, options_of, plan_name
from rtmatte.plan.sidecar import Sidecar, read_plan, read_sidecar, sidecar_path, with_self_test, write_plan
from tests.plans import DAMAGES, GPU, OTHER, fake_api, posix, toy_onnx
from tests.toy_model import save_toy, toy_contract

onnx = pytest.fixture(toy_onnx)


@pytest.fixture
def plan(onnx: Path, tmp_path: Path) -> Path:
    """Returns a plan of the toy for GPU, in a folder of its own."""
    api, path = fake_api(), tmp_path / "plans" / "toy.plan"
    build_plan(onnx, path, api=api, aim=aim(api, GPU))
    return path


def load(plan: Path, *, gpu: Gpu = GPU, version: str = "1.7", onnx_sha256: str | None = None) -> tuple[Sidecar, bytes]:
    return read_plan(plan, runtime="rtx", version=version, gpu=gpu, onnx_sha256=onnx_sha256)


def test_plan_is_given_back_with_what_is_known_of_it(plan: Path, onnx: Path) -> None:
    sidecar, content = load(plan, onnx_sha256=read_sidecar(plan).onnx_sha256)

    assert content == plan.read_bytes()
    assert sidecar.contract == toy_contract()
    assert sidecar.targets == ("sm89",)
    assert (sidecar.runtime, sidecar.runtime_version, sidecar.gpu) == ("rtx", "1.7", "")
    assert sidecar.layers == {"CONVOLUTION": 3}
    assert sidecar.options == {"tf32": True}
    assert sidecar.self_test is None
    assert set(json.loads(sidecar_path(plan).read_text())) == set(Sidecar.__dataclass_fields__)


def test_outcome_of_a_self_test_is_noted_in_the_sidecar(plan: Path) -> None:
    with_self_test(plan, 0.001)

    assert load(plan)[0].self_test == 0.001


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_plan_that_is_not_what_was_built_is_refused(
    damage: Callable[[Path], None], reason: str, plan: Path, onnx: Path
) -> None:
    damage(plan)

    with pytest.raises(PlanError, match=reason):
        load(plan)


def test_plan_of_another_gpu_version_or_model_is_refused_with_the_command(plan: Path) -> None:
    for problem, keywords in (
        ("built for sm89, this is NVIDIA RTX B", {"gpu": OTHER}),
        (r"built with rtx 1\.7, this is rtx 1\.8", {"version": "1.8"}),
        ("built from another model", {"onnx_sha256": "0" * 64}),
    ):
        with pytest.raises(PlanError, match=f"{problem}.*rtmatte build"):
            load(plan, **keywords)


@posix
@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH])
@pytest.mark.parametrize("which", ["plan", "sidecar", "folder"])
def test_plan_that_others_could_have_written_is_refused(bit: int, which: str, plan: Path) -> None:
    path = {"plan": plan, "sidecar": sidecar_path(plan), "folder": plan.parent}[which]
    path.chmod(path.stat().st_mode | bit)

    with pytest.raises(PlanError, match=r"can be written by others.*chmod go-w"):
        load(plan)


@posix
@pytest.mark.parametrize("which", ["plan", "sidecar", "folder"])
def test_plan_of_another_user_is_refused(which: str, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"plan": plan, "sidecar": sidecar_path(plan), "folder": plan.parent}[which]
    real = Path.stat

    def stat_of_a_stranger(path: Path, **options: bool) -> os.stat_result:
        values = list(real(path, **options))
        values[stat.ST_UID] = 54321
        return os.stat_result(values) if path == foreign else real(path, **options)

    monkeypatch.setattr(Path, "stat", stat_of_a_stranger)

    with pytest.raises(PlanError, match="belongs to another user"):
        load(plan)


@posix
def test_what_is_written_is_the_users_alone(plan: Path) -> None:
    assert stat.S_IMODE(plan.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert stat.S_IMODE(sidecar_path(plan).stat().st_mode) == 0o600


def test_library_with_targets_builds_for_any_and_one_without_only_for_the_gpu_here() -> None:
    rtx, tensorrt = fake_api("rtx"), fake_api("tensorrt")

    assert aim(rtx, None, ["sm86", "sm120"]).targets == ("sm86", "sm120")
    assert (aim(rtx, GPU).targets, aim(rtx, GPU).gpu) == (("sm89",), "")
    assert (aim(tensorrt, GPU).targets, aim(tensorrt, GPU).gpu) == (("sm89",), GPU.name)
    with pytest.raises(InputError, match=r"no GPU here.*--target"):
        aim(rtx, None)
    with pytest.raises(InputError, match="only on the GPU that will run"):
        aim(tensorrt, None, ["sm86"])
    with pytest.raises(InputError, match=r"expected targets of sm89 .* found sm86"):
        aim(tensorrt, GPU, ["sm86"])
    with pytest.raises(InputError, match="found sm90"):
        aim(rtx, None, ["sm86", "sm90"])


def test_only_a_parity_graph_keeps_its_float32_whole() -> None:
    assert options_of("parity") == {"tf32": False}
    assert options_of("fast") == options_of("") == {"tf32": True}


def test_named_plan_says_what_it_is_for(onnx: Path) -> None:
    api = fake_api()

    assert plan_name(onnx, api, aim(api, None, ["sm86", "sm89"])) == "toy-rtx-sm86-sm89.plan"


def test_folder_that_cannot_be_written_is_an_error_of_ours(onnx: Path, tmp_path: Path) -> None:
    api = fake_api()
    (tmp_path / "file").touch()

    with pytest.raises(BackendError, match=r"cannot write .*name another folder"):
        build_plan(onnx, tmp_path / "file" / "toy.plan", api=api, aim=aim(api, GPU))


def test_head_brings_its_tail_and_neither_comes_alone(tmp_path: Path) -> None:
    whole = toy_contract()
    link = TensorSpec("padded", whole.input(MASK).shape)
    of_tail = (*(whole.input(name) for name in GATES), link)
    step = save_toy(tmp_path / "toy.onnx", whole)
    head = save_toy(tmp_path / "toy.head.onnx", whole, metadata=replace(whole, role="head").to_json())

    assert graphs_of(step) == (step,)
    with pytest.raises(ContractError, match=r"its tail beside it as toy\.tail\.onnx"):
        graphs_of(head)
    text = replace(whole, role="tail", inputs=of_tail, outputs=()).to_json()
    tail = save_toy(tmp_path / "toy.tail.onnx", whole, metadata=text)
    assert graphs_of(head) == (head, tail)
    with pytest.raises(ContractError, match="is a tail"):
        graphs_of(tail)


def test_sidecar_is_the_same_after_a_round_trip(plan: Path) -> None:
    sidecar = read_sidecar(plan)

    assert Sidecar.from_json(sidecar.to_json()) == sidecar
    assert isinstance(sidecar.contract, Contract)


def test_write_replaces_what_was_there(plan: Path) -> None:
    sidecar = read_sidecar(plan)

    write_plan(plan, b"new", sidecar)

    assert plan.read_bytes() == b"new"
    assert sorted(path.name for path in plan.parent.iterdir()) == ["toy.plan", "toy.plan.json"]
