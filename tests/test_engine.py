"""The door: what is opened, what is refused, which backend runs, and what the user hears about it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtmatte import backends, models
from rtmatte.backends import Backend, Options
from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Contract
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import (
    BackendError,
    BackendMissing,
    ContractError,
    EngineError,
    InputError,
    ModelError,
    UntrustedModelError,
)
from rtmatte.modelfile import seal, sha256_of
from rtmatte.step import Engine
from tests.toy_model import save_toy, toy_contract


@pytest.fixture
def sealed(contract: Contract, tmp_path: Path) -> Path:
    """Returns a toy model with its self-test, sealed."""
    return save_sealed(tmp_path / "toy.onnx", contract)


def save_sealed(path: Path, contract: Contract) -> Path:
    means = self_test(OrtEngine(save_toy(path, contract), threads=1))
    seal(save_toy(path, replace(contract, self_test=means)))
    return path


def change(path: Path, old: bytes, new: bytes) -> None:
    """Replaces the one occurrence of `old` in the file."""
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def only(monkeypatch: pytest.MonkeyPatch, *table: Backend) -> None:
    """Makes `table` all the backends there are."""
    monkeypatch.setattr(backends, "BACKENDS", table)


def failing(name: str, error: Exception) -> Backend:
    def refuse(path: Path, options: Options) -> Engine:
        raise error

    return Backend(name, backends.ONNX, refuse)


def giving(name: str, engine: Engine) -> Backend:
    return Backend(name, backends.ONNX, lambda path, options: engine)


def working(name: str) -> Backend:
    return Backend(name, backends.ONNX, lambda path, options: OrtEngine(path, threads=options.threads))


def test_sealed_model_runs_on_the_cpu_without_a_word_about_what_is_not_installed(sealed: Path) -> None:
    notes: list[str] = []

    engine = open_engine(sealed, threads=1, note=notes.append)

    assert engine.backend == "onnxruntime cpu"
    assert notes == []


def test_backend_that_is_asked_for_is_used_without_a_word(sealed: Path) -> None:
    notes: list[str] = []

    engine = open_engine(sealed, backend="cpu", threads=1, note=notes.append)

    assert engine.backend == "onnxruntime cpu"
    assert notes == []


def test_asking_for_a_gpu_where_there_is_none_is_an_error(sealed: Path) -> None:
    with pytest.raises(BackendError, match=r"no backend can run toy\.onnx\. cuda: .*CUDAExecutionProvider"):
        open_engine(sealed, backend="cuda", threads=1)


@pytest.mark.parametrize("backend", ["onnx", "gpu", "CPU", ""])
def test_backend_that_cannot_run_the_file_is_refused_with_those_that_can(backend: str, sealed: Path) -> None:
    with pytest.raises(
        BackendError, match=r"expected a backend of auto, .*, cpu, openvino, openvino-bf16 for toy\.onnx, found"
    ):
        open_engine(sealed, backend=backend)


def test_all_reasons_stand_in_one_error(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(
        monkeypatch,
        failing("first", BackendMissing("the package is not there")),
        failing("second", BackendError("the driver is too old")),
    )

    with pytest.raises(BackendError) as caught:
        open_engine(sealed)

    text = str(caught.value)
    assert text == ("no backend can run toy.onnx. first: the package is not there | second: the driver is too old")


def test_backend_whose_self_test_is_off_is_closed_and_the_next_one_runs(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = FakeEngine(16, 8)
    liar.contract = replace(liar.contract, self_test=((0.9,) * 64,) * 3)
    only(monkeypatch, giving("liar", liar), working("honest"))
    notes: list[str] = []

    engine = open_engine(sealed, threads=1, note=notes.append)

    assert engine.backend == "onnxruntime cpu"
    assert len(notes) == 1
    assert notes[0].startswith("skipped liar: its self-test is off by 0.9")
    with pytest.raises(EngineError, match="closed"):
        self_test(liar)


@pytest.mark.parametrize(
    ("faults", "reason"), [(Faults(nan_at=[2]), "not finite"), (Faults(fail_at=[1]), "told to fail at call 1")]
)
def test_backend_that_breaks_in_its_self_test_is_skipped(
    faults: Faults, reason: str, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, giving("broken", FakeEngine(16, 8, faults=faults)))

    with pytest.raises(BackendError, match=f"broken: .*{reason}"):
        open_engine(sealed)


def test_self_test_covers_seed_settle_and_ordinary_frames_of_every_row() -> None:
    engine = FakeEngine(64, 48, batch=2)

    means = self_test(engine)

    assert engine.calls == [("seed",) * 2, ("settle",) * 2, ("frame",) * 2, ("frame",) * 2]
    assert [len(row) for row in means] == [64, 64, 64]
    assert means[0] != means[1] != means[2]
    assert all(0.1 < np.mean(row) < 0.4 for row in means)


def test_self_test_of_another_kind_is_a_contract_to_make_again(contract: Contract, tmp_path: Path) -> None:
    path = save_toy(tmp_path / "old.onnx", replace(contract, self_test=((0.5, 0.5),)))

    with pytest.raises(ModelError, match="export the model again"):
        open_engine(path, threads=1)


def test_self_test_of_nan_is_never_passed(contract: Contract, tmp_path: Path) -> None:
    path = save_toy(tmp_path / "nan.onnx", replace(contract, self_test=((float("nan"),) * 64,) * 3))

    with pytest.raises(BackendError, match="off by nan"):
        open_engine(path, threads=1)


def test_changed_model_is_refused_with_both_hashes_unless_trusted(sealed: Path) -> None:
    change(sealed, b'"model":"toy"', b'"model":"fox"')
    notes: list[str] = []

    with pytest.raises(
        UntrustedModelError, match=r"toy\.onnx was changed .* [0-9a-f]{64}, found [0-9a-f]{64}; .*--trust"
    ):
        open_engine(sealed, threads=1)
    engine = open_engine(sealed, threads=1, backend="cpu", trust=True, note=notes.append)

    assert engine.contract.model == "fox"
    assert len(notes) == 1
    assert "was changed or damaged" in notes[0]


def test_model_without_a_seal_is_opened_and_the_user_hears_it(contract: Contract, tmp_path: Path) -> None:
    path = save_toy(tmp_path / "mine.onnx", contract)
    notes: list[str] = []

    open_engine(str(path), backend="cpu", threads=1, note=notes.append)

    assert notes == [f"{path} has no seal, so nobody can tell whether it is as it was exported"]


@pytest.fixture
def bundle(contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder of two bundled models called "toy", 16x8 and 8x16, listed with their hashes."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    entries = []
    for width, height in ((16, 8), (8, 16)):
        path = save_toy(folder / f"toy-{width}x{height}.onnx", toy_contract(width, height))
        entries.append(
            {
                "name": "toy",
                "file": path.name,
                "width": width,
                "height": height,
                "sha256": sha256_of(path),
                "bytes": path.stat().st_size,
            }
        )
    (folder / models.MANIFEST).write_text(json.dumps({"models": entries}))
    monkeypatch.setattr(models, "FOLDER", folder)
    return folder


def test_bundled_model_is_opened_by_name_and_size(bundle: Path) -> None:
    notes: list[str] = []

    assert open_engine("toy", backend="cpu", threads=1, note=notes.append).contract.size == (16, 8)
    assert open_engine("toy", size=(9, 16), backend="cpu", threads=1).contract.size == (8, 16)
    assert notes == []


def test_bundled_model_that_is_not_the_listed_one_is_refused(bundle: Path) -> None:
    path = bundle / "toy-16x8.onnx"
    listed = sha256_of(path)
    change(path, b'"model":"toy"', b'"model":"fox"')

    for name in ("toy", path):
        with pytest.raises(UntrustedModelError, match=f"expected sha256 {listed}, found {sha256_of(path)}"):
            open_engine(name, threads=1)
    assert open_engine("toy", backend="cpu", threads=1, trust=True).contract.model == "fox"


def test_unknown_name_and_missing_file_list_the_bundled_models(bundle: Path) -> None:
    for missing in ("lite", "no/such.onnx", "toy.onnx", bundle):
        with pytest.raises(ModelError, match=r"toy \(16x8\), toy \(8x16\)"):
            open_engine(missing)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").touch()

    with pytest.raises(ModelError, match=r"expected a model in \.onnx, \.pth, .* found model\.tflite"):
        open_engine(tmp_path / "model.tflite")


def test_truncated_model_is_a_contract_error(sealed: Path) -> None:
    sealed.write_bytes(sealed.read_bytes()[:-300])

    with pytest.raises(ContractError, match="not a complete ONNX file"):
        open_engine(sealed)


def test_without_any_runtime_the_error_names_the_extras(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, module in (("onnxruntime", "ort"), ("openvino", "openvino")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"rtmatte.backends.{module}", raising=False)

    with pytest.raises(
        BackendError, match=r"cpu: ONNX Runtime is not .*rtmatte\[cpu\].* \| openvino: .*rtmatte\[openvino\]"
    ):
        open_engine(sealed)


def test_no_threads_is_an_input_error(sealed: Path) -> None:
    with pytest.raises(InputError, match="at least 1 thread, found 0"):
        open_engine(sealed, threads=0)
