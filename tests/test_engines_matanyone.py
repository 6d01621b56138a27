"""MatAnyone's graphs, exported from random weights and built with TensorRT for RTX for every generation of RTX.

One small step is built by `make test`; the real sizes take minutes, most of it export: `make test-engines` runs them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from engines import recipes, report
from engines.__main__ import graph_of
from export.__main__ import Order, export_checked
from rtmatte.contract import Role
from rtmatte.errors import BackendMissing
from rtmatte.network.checkpoint import Variant
from rtmatte.network.matanyone.net import MatAnyone
from rtmatte.plan.api import Api, open_api
from rtmatte.plan.build import aim, build_plan, graphs_of

pytestmark = pytest.mark.timeout(1200)

LONGEST_BUILD = 60.0  # seconds of processor time, which a busy machine does not stretch
GRAPHS: list[tuple[Variant, Role]] = [
    (variant, part) for variant in ("fast", "fast-fp16") for part in ("step", "head", "tail")
]


@pytest.fixture(scope="module")
def api() -> Api:
    try:
        return open_api("rtx")
    except BackendMissing as error:
        if os.environ.get("RTMATTE_REQUIRE_TENSORRT_RTX") == "1":
            pytest.fail(f"TensorRT for RTX was promised here: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a checkpoint of random weights: a build looks at shapes and operators only."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "matanyone.pth"
    torch.save(MatAnyone().state_dict(), path)
    return path


def build(api: Api, weights: Path, folder: Path, order: Order) -> None:
    """Exports and builds one graph for every target, and prints the report that records its size."""
    onnx, plan = folder / order.file_name, folder / "matanyone.plan"
    export_checked(order, onnx, check_frames=0)
    began = time.process_time()
    sidecar = build_plan(onnx, plan, api=api, aim=aim(api, None, recipes.TARGETS))
    assert time.process_time() - began < LONGEST_BUILD
    print(*report.lines(plan, sidecar), sep="\n")

    assert report.refused_layers(sidecar) == ()
    assert sidecar.contract.role == order.part
    assert 1e6 < sidecar.plan_bytes < 400e6
    halves = sidecar.precisions.get("HALF", 0)
    if order.variant == "fast-fp16":
        # A fifth, though most of the arithmetic is in half: the islands are many small layers.
        assert halves > sidecar.precisions["FLOAT"] / 5, "a graph in half precision computes in it"


@pytest.mark.slow
def test_a_small_half_precision_step_builds(api: Api, weights: Path, tmp_path: Path) -> None:
    build(api, weights, tmp_path, Order(weights, (112, 80), variant="fast-fp16"))


@pytest.mark.engines
@pytest.mark.parametrize(("variant", "part"), GRAPHS)
def test_every_graph_builds_at_512x288(variant: Variant, part: Role, api: Api, weights: Path, tmp_path: Path) -> None:
    build(api, weights, tmp_path, Order(weights, (512, 288), variant=variant, part=part))


@pytest.mark.engines
def test_half_precision_step_builds_at_1280x720(api: Api, weights: Path, tmp_path: Path) -> None:
    build(api, weights, tmp_path, Order(weights, (1280, 720), variant="fast-fp16"))


@pytest.mark.engines
def test_split_recipe_gives_a_head_that_finds_its_tail(weights: Path, tmp_path: Path) -> None:
    recipe = recipes.Recipe("matanyone", (128, 96), variant="fast", split=True)

    head = graph_of(recipe, weights, tmp_path)

    assert [path.name for path in graphs_of(head)] == [
        "matanyone-128x96-fast-head.onnx",
        "matanyone-128x96-fast-tail.onnx",
    ]
