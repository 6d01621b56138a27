"""Plans without TensorRT: what is built for which GPU, what a sidecar is worth once anything has changed, the cache."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from rtmatte.contract import GATES, MASK, Contract, TensorSpec
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendError, ContractError, InputError, PlanError
from rtmatte.plan.api import Api, Built, Progress, Runtime
from rtmatte.plan.build import aim, build_plan, graphs_of, options_of, plan_name
from rtmatte.plan.cache import PlanCache, default_folder, describe
from rtmatte.plan.sidecar import Sidecar, read_plan, read_sidecar, sidecar_path, with_self_test, write_plan
from tests.toy_model import save_toy, toy_contract

GPU = Gpu("NVIDIA RTX A", (8, 9), 13000)
OTHER = Gpu("NVIDIA RTX B", (12, 0), 13000)

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX's")


class FakeApi:
    """A library that "builds" a few bytes; `built` are the files it was asked for."""

    def __init__(self, runtime: Runtime = "rtx", version: str = "1.7") -> None:
        self.runtime = runtime
        self.version = version
        self.targets = ("sm86", "sm89", "sm120") if runtime == "rtx" else ()
        self.built: list[str] = []

    def build(self, onnx: Path, *, targets: Sequence[str], tf32: bool, progress: Progress | None = None) -> Built:
        self.built.append(onnx.name)
        if progress:
            progress("building", 1.0)
        plan = f"{onnx.name} {self.version} {','.join(targets)} {tf32}".encode() * 10
        return Built(plan, {"CONVOLUTION": 3}, {"FLOAT": 3}, 1000, 500)

    def __str__(self) -> str:
        return f"library {self.version}"


def fake_api(runtime: Runtime = "rtx", version: str = "1.7") -> Api:
    return cast(Api, FakeApi(runtime, version))


def builds(api: Api) -> list[str]:
    return cast(FakeApi, api).built


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return save_toy(tmp_path / "toy.onnx", toy_contract())


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


def change_sidecar(**values: object) -> Callable[[Path], None]:
    def change(plan: Path) -> None:
        raw = json.loads(sidecar_path(plan).read_text())
        sidecar_path(plan).write_text(json.dumps(raw | values))

    return change


def truncate(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def flip(plan: Path) -> None:
    content = bytearray(plan.read_bytes())
    content[5] ^= 1
    plan.write_bytes(content)


def cut_sidecar(plan: Path) -> None:
    sidecar_path(plan).write_text(sidecar_path(plan).read_text()[:100])


def remove_sidecar(plan: Path) -> None:
    sidecar_path(plan).unlink()


DAMAGES = [
    (truncate, "bytes, found"),
    (flip, "changed or damaged"),
    (cut_sidecar, "sidecar is damaged"),
    (remove_sidecar, r"cannot read .*toy\.plan\.json"),
    (change_sidecar(plan_sha256="0" * 64), "changed or damaged"),
    (change_sidecar(targets=["sm86"]), r"built for sm86, this is NVIDIA RTX A \(sm89\)"),
    (change_sidecar(gpu=OTHER.name), "built for NVIDIA RTX B, this is NVIDIA RTX A"),
    (change_sidecar(runtime="tensorrt"), r"built with tensorrt 1\.7, this is rtx 1\.7"),
    (change_sidecar(version=99), "version 1, found 99"),
    (change_sidecar(contract={}), "damaged"),
    (change_sidecar(contract=None), "damaged"),
    (change_sidecar(targets=None), "damaged"),
    (change_sidecar(surprise=1), "damaged"),
    (lambda plan: sidecar_path(plan).write_text("[]"), "damaged"),
    (lambda plan: sidecar_path(plan).write_text("[" * 100_000), "damaged"),
    (lambda plan: sidecar_path(plan).write_bytes(b"\xff\xfe"), "damaged"),
    (lambda plan: plan.unlink(), "cannot read"),
]


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


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "cache")


def test_cached_plan_is_built_once_and_found_again(cache: PlanCache, onnx: Path) -> None:
    api, heard = fake_api(), list[str]()

    assert cache.find(onnx, api, GPU) is None
    first = cache.obtain(onnx, api, GPU, progress=lambda phase, share: heard.append(phase))
    second = cache.obtain(onnx, api, GPU)

    assert first == second
    assert builds(api) == ["toy.onnx"]
    assert heard == ["building"]
    if hasattr(os, "geteuid"):
        assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_anything_a_plan_depends_on_is_in_its_key(cache: PlanCache, onnx: Path, tmp_path: Path) -> None:
    api = fake_api()
    other_model = save_toy(tmp_path / "b.onnx", toy_contract(32))
    paths = {
        cache.path_of(onnx, api, GPU),
        cache.path_of(onnx, fake_api(version="1.8"), GPU),
        cache.path_of(onnx, fake_api("tensorrt"), GPU),
        cache.path_of(onnx, api, OTHER),
        cache.path_of(onnx, api, replace(GPU, name="NVIDIA RTX C")),
        cache.path_of(onnx, api, replace(GPU, driver=14000)),
        cache.path_of(other_model, api, GPU).with_stem("toy"),
    }

    assert len(paths) == 7
    assert cache.path_of(onnx, api, GPU) == cache.path_of(onnx, fake_api(), replace(GPU, driver=13010))


@pytest.mark.parametrize("damage", [damage for damage, _ in DAMAGES])
def test_damaged_plan_of_the_cache_is_built_again(damage: Callable[[Path], None], cache: PlanCache, onnx: Path) -> None:
    api = fake_api()
    expected = cache.obtain(onnx, api, GPU)
    damage(cache.path_of(onnx, api, GPU))

    found = cache.obtain(onnx, api, GPU)

    assert replace(found[0], seconds=0) == replace(expected[0], seconds=0)
    assert found[1] == expected[1]
    assert len(builds(api)) == 2


@posix
def test_cache_that_others_can_write_to_is_not_used(cache: PlanCache, onnx: Path) -> None:
    api = fake_api()
    cache.obtain(onnx, api, GPU)
    cache.folder.chmod(0o770)

    for use in (cache.find, cache.obtain):
        with pytest.raises(PlanError, match="can be written by others"):
            use(onnx, api, GPU)


def test_plan_half_written_by_an_interrupted_build_is_never_seen(
    cache: PlanCache, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = fake_api()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            cache.obtain(onnx, api, GPU)
    assert cache.entries() == []

    cache.obtain(onnx, api, GPU)
    assert len(cache.entries()) == 1


def test_two_that_need_one_plan_build_it_once(cache: PlanCache, onnx: Path) -> None:
    api = fake_api()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(cache.obtain, onnx, api, GPU) for _ in range(2)]
        first, second = (future.result(timeout=30) for future in both)

    assert first == second
    assert len(builds(api)) == 1


def test_plans_used_longest_ago_go_when_the_cache_is_full(onnx: Path, tmp_path: Path) -> None:
    api = fake_api()
    cache = PlanCache(tmp_path / "cache")
    gpus = [replace(GPU, name=f"NVIDIA RTX {n}") for n in range(4)]
    for age, gpu in enumerate(gpus[:3]):
        cache.obtain(onnx, api, gpu)
        os.utime(cache.path_of(onnx, api, gpu), (1000 + age, 1000 + age))
    one = cache.entries()[0].nbytes
    cache.find(onnx, api, gpus[0])  # used just now

    PlanCache(cache.folder, limit_bytes=2 * one).obtain(onnx, api, gpus[3])

    kept = {entry.plan for entry in cache.entries()}
    assert kept == {cache.path_of(onnx, api, gpu) for gpu in (gpus[0], gpus[3])}
    assert len(list(cache.folder.glob("*.json"))) == 2


def test_cache_is_listed_and_cleared(cache: PlanCache, onnx: Path) -> None:
    api = fake_api()
    assert cache.entries() == []
    assert cache.clear() == 0
    cache.obtain(onnx, api, GPU)
    cache.obtain(onnx, api, OTHER)
    cut_sidecar(cache.path_of(onnx, api, OTHER))

    lines = sorted(describe(entry).partition(": ")[2].rpartition(", ")[0] for entry in cache.entries())
    freed = cache.clear()

    assert lines == ["damaged", "toy 16x8, 1 a batch, for sm89, rtx 1.7"]
    assert freed > 0
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("Linux", {}, "home/.cache/rtmatte/plans"),
        ("Linux", {"XDG_CACHE_HOME": "elsewhere"}, "elsewhere/rtmatte/plans"),
        ("Darwin", {}, "home/Library/Caches/rtmatte/plans"),
        ("Windows", {"LOCALAPPDATA": "local"}, "local/rtmatte/plans"),
    ],
)
def test_cache_lies_where_the_platform_keeps_such_things(
    system: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert default_folder() == Path(expected)


def test_sidecar_is_the_same_after_a_round_trip(plan: Path) -> None:
    sidecar = read_sidecar(plan)

    assert Sidecar.from_json(sidecar.to_json()) == sidecar
    assert isinstance(sidecar.contract, Contract)


def test_write_replaces_what_was_there(plan: Path) -> None:
    sidecar = read_sidecar(plan)

    write_plan(plan, b"new", sidecar)

    assert plan.read_bytes() == b"new"
    assert sorted(path.name for path in plan.parent.iterdir()) == ["toy.plan", "toy.plan.json"]
