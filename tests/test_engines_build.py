"""Real plans, built with TensorRT for RTX on this machine, GPU or not: every shipped graph parses whole and builds."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines import recipes, report
from engines.__main__ import main
from rtmatte import models
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendError, BackendMissing, InputError
from rtmatte.modelfile import sha256_of
from rtmatte.plan.api import Api, open_api
from rtmatte.plan.build import aim, build_plan
from rtmatte.plan.sidecar import Sidecar, read_plan, read_sidecar
from tests.toy_model import save_toy, toy_contract

LONGEST_BUILD = 60.0  # seconds of processor time, which a busy machine does not stretch; about 4 are used


@pytest.fixture(scope="module")
def api() -> Api:
    try:
        return open_api("rtx")
    except BackendMissing as error:
        if os.environ.get("RTMATTE_REQUIRE_TENSORRT_RTX") == "1":
            pytest.fail(f"TensorRT for RTX was promised here: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def built(api: Api, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sidecar]:
    """Returns the plan of the bundled lite at 512x288, for all three generations of RTX, and its sidecar."""
    plan, began = tmp_path_factory.mktemp("plans") / "lite.plan", time.process_time()
    sidecar = build_plan(models.find("lite", (512, 288)), plan, api=api, aim=aim(api, None, recipes.TARGETS))
    assert time.process_time() - began < LONGEST_BUILD
    return plan, sidecar


def test_bundled_lite_builds_for_every_rtx_generation_in_time(built: tuple[Path, Sidecar]) -> None:
    plan, sidecar = built

    assert sidecar.targets == ("sm86", "sm89", "sm120")
    assert 1e6 < sidecar.plan_bytes == plan.stat().st_size < 20e6
    assert sidecar.contract.size == (512, 288)
    assert sidecar.activation_bytes > 0


def test_its_graph_has_nothing_that_waits_for_the_host(built: tuple[Path, Sidecar]) -> None:
    _, sidecar = built

    assert sidecar.layers["CONVOLUTION"] > 10
    assert report.refused_layers(sidecar) == ()
    assert report.refused_layers(replace(sidecar, layers={"CONVOLUTION": 1, "NON_ZERO": 1})) == ("NON_ZERO",)


OTHERS = [model.file for model in models.listing() if (model.width, model.height) != (512, 288)]


@pytest.mark.parametrize("file", OTHERS)
def test_every_other_bundled_graph_builds_for_all_three(file: str, api: Api, tmp_path: Path) -> None:
    plan, began = tmp_path / "lite.plan", time.process_time()

    sidecar = build_plan(models.FOLDER / file, plan, api=api, aim=aim(api, None, recipes.TARGETS))

    assert time.process_time() - began < LONGEST_BUILD
    assert sidecar.targets == recipes.TARGETS
    assert sidecar.contract.size != (512, 288)
    assert sidecar.plan_bytes == plan.stat().st_size
    assert report.refused_layers(sidecar) == ()


def test_plan_passes_its_checks_and_stops_at_the_first_call_of_the_driver(
    api: Api, built: tuple[Path, Sidecar]
) -> None:
    plan, sidecar = built
    gpu = Gpu("NVIDIA GeForce RTX 4090", (8, 9), 13000)
    _, content = read_plan(
        plan, runtime="rtx", version=api.version, gpu=gpu, onnx_sha256=sha256_of(models.find("lite", (512, 288)))
    )
    assert len(content) == sidecar.plan_bytes

    if _gpu_works():
        pytest.skip("there is a GPU here; its tests load plans for real")
    with pytest.raises(BackendError, match=r"cudaError 35.*NVIDIA driver from https://www\.nvidia\.com/drivers"):
        api.load(content)


def _gpu_works() -> bool:
    from rtmatte.cuda import find_gpu

    try:
        find_gpu()
    except BackendMissing:
        return False
    return True


@pytest.mark.parametrize("batch", recipes.BATCHES)
def test_every_gate_of_the_toy_builds_with_progress(batch: int, api: Api, tmp_path: Path) -> None:
    onnx = save_toy(tmp_path / "toy.onnx", toy_contract(batch=batch))
    heard: list[float] = []

    sidecar = build_plan(
        onnx,
        tmp_path / "toy.plan",
        api=api,
        aim=aim(api, None, ["sm89"]),
        progress=lambda phase, share: heard.append(share),
    )

    assert sidecar.contract.batch == batch
    assert heard == sorted(heard)
    assert heard[-1] > 0.5


def test_graph_that_is_refused_is_named_with_its_operator(api: Api, tmp_path: Path) -> None:
    broken = save_toy(tmp_path / "broken.onnx", toy_contract())
    broken.write_bytes(broken.read_bytes().replace(b"ReduceMax", b"ReduceMux"))

    with pytest.raises(BackendError, match=r"refuses broken\.onnx \(.*ReduceMux"):
        build_plan(broken, tmp_path / "broken.plan", api=api, aim=aim(api, None, ["sm89"]))
    assert not (tmp_path / "broken.plan").exists()


def test_recipe_is_built_and_inspected_by_the_command(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["engines", "build", "lite-288p", "--target", "sm89", "--output", str(tmp_path)])
    assert main() == 0
    plan = next(tmp_path.glob("*.plan"))
    assert plan.name == "lite-512x288-rtx-sm89.plan"
    assert read_sidecar(plan).targets == ("sm89",)
    said = capsys.readouterr().out

    monkeypatch.setattr("sys.argv", ["engines", "inspect", str(plan)])
    assert main() == 0
    assert capsys.readouterr().out == said
    assert "built, never run" in said
    assert "precisions" in said


def test_verify_without_a_gpu_is_one_line_and_exit_code_2(
    built: tuple[Path, Sidecar], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if _gpu_works():
        pytest.skip("there is a GPU here")
    onnx = str(models.find("lite", (512, 288)))
    monkeypatch.setattr("sys.argv", ["engines", "verify", str(built[0]), "--onnx", onnx])

    assert main() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nvidia" in error.lower()


def test_recipe_names_sizes_and_batches_are_checked() -> None:
    assert recipes.find("matanyone-720p", batch=4).stem == "matanyone-1280x720-fast-fp16-b4"
    assert recipes.find("matanyone-288p", split=True).parts == ("head", "tail")
    assert recipes.find("lite-288p").bundled() == models.find("lite", (512, 288))
    assert recipes.find("lite-720p").bundled() is None
    with pytest.raises(InputError, match=r"expected a recipe of lite-288p.*found 'lite'"):
        recipes.find("lite")
    with pytest.raises(InputError, match="lite has no variants"):
        recipes.find("lite-288p", split=True)
    with pytest.raises(InputError, match="expected a batch of 1, 2, 4, 8, found 3"):
        recipes.find("lite-288p", batch=3)
