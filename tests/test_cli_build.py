"""`rtmatte build` as a user types it: plans for other machines, the cache, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmatte.cli import main
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendMissing
from rtmatte.modelfile import seal
from rtmatte.plan import cache as cache_module
from rtmatte.plan.api import check_installed, open_api
from rtmatte.plan.cache import PlanCache
from rtmatte.plan.sidecar import read_sidecar
from tests.toy_model import save_toy, toy_contract


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    path = save_toy(tmp_path / "toy.onnx", toy_contract())
    seal(path)
    return path


@pytest.fixture
def rtx() -> None:
    """Skips where TensorRT for RTX is not installed; `test_engines_build` fails where it was promised."""
    try:
        check_installed("rtx")
    except BackendMissing as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder that stands in for the user's cache."""
    monkeypatch.setattr(cache_module, "default_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["build", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.usefixtures("rtx")
def test_plan_for_other_cards_is_built_without_a_gpu(
    onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, onnx, "--target", "sm86, SM89", "--output", tmp_path / "plans")

    plan = tmp_path / "plans" / "toy-rtx-sm86-sm89.plan"
    assert (code, err) == (0, "")
    assert out.startswith(f"{plan}: toy step 16x8 for sm86, sm89, ")
    assert read_sidecar(plan).targets == ("sm86", "sm89")


@pytest.mark.usefixtures("rtx")
def test_cached_plans_are_listed_and_cleared(onnx: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--list")[1] == f"{folder}: 0 plans, 0.0 MB\n"
    PlanCache().obtain(onnx, open_api("rtx"), Gpu("NVIDIA RTX A", (8, 9), 13000))

    code, out, _ = run(capsys, "--list")

    assert code == 0
    assert out.startswith(f"{folder}: 1 plans")
    assert "toy 16x8, 1 a batch, for sm89, rtx" in out
    assert run(capsys, "--clear")[0] == 0
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--target", "sm89"), "--output DIR"),
        (("--target", "sm1", "--output", "plans"), "found sm1"),
        (("--runtime", "cpu"), "cpu"),
        (("--size", "wide"), "size"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_exit_code_2(
    options: tuple[str, ...], reason: str, onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, onnx, *options)

    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert reason in err


def test_changed_model_is_not_built_unless_trusted(onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.write_bytes(onnx.read_bytes().replace(b'"model":"toy"', b'"model":"fox"'))

    code, _, err = run(capsys, onnx, "--target", "sm89", "--output", onnx.parent)

    assert code == 2
    assert "was changed or damaged" in err
