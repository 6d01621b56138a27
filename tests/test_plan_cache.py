"""The cache of plans: what is found again, what is built again, what goes, and where it lies."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rtmatte.errors import PlanError
from rtmatte.plan.cache import PlanCache, default_folder, describe
from tests.plans import DAMAGES, GPU, OTHER, builds, cut_sidecar, fake_api, posix, toy_onnx
from tests.toy_model import save_toy, toy_contract

onnx = pytest.fixture(toy_onnx)


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
