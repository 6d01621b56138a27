"""The manifest of bundled models: which graph fits a picture, and every way the list or a file can be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtmatte import models
from rtmatte.errors import ModelError

SIZES = {"wide": (512, 288), "plain": (512, 384), "tall": (288, 512)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with a manifest of three graphs of "lite" and one of "other", and their (empty) files."""
    entries = [entry("lite", f"{shape}.onnx", size) for shape, size in SIZES.items()]
    entries.append(entry("other", "other.onnx", (64, 64)))
    for item in entries:
        (tmp_path / str(item["file"])).touch()
    (tmp_path / models.MANIFEST).write_text(json.dumps({"models": entries}))
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    return tmp_path


def entry(name: str, file: str, size: tuple[int, int]) -> dict[str, object]:
    return {"name": name, "file": file, "width": size[0], "height": size[1], "sha256": f"hash of {file}", "bytes": 0}


def test_listing_keeps_the_order_of_the_manifest(folder: Path) -> None:
    assert [str(model) for model in models.listing()] == [
        "lite (512x288)",
        "lite (512x384)",
        "lite (288x512)",
        "other (64x64)",
    ]


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        ((1280, 720), "wide"),
        ((1920, 1080), "wide"),
        ((2560, 1080), "wide"),
        ((640, 480), "plain"),
        ((720, 576), "plain"),
        ((500, 500), "plain"),
        ((720, 1280), "tall"),
        ((480, 640), "tall"),
        ((1, 1), "plain"),
        ((1, 1000), "tall"),
    ],
)
def test_the_graph_that_wastes_least_of_its_picture_is_found(frame: tuple[int, int], shape: str, folder: Path) -> None:
    assert models.find("lite", frame) == folder / f"{shape}.onnx"


@pytest.mark.parametrize(
    ("frame", "file"),
    [((1280, 720), "small.onnx"), ((640, 480), "wide.onnx"), ((720, 1280), None)],
)
def test_a_cheaper_graph_is_one_that_still_shows_enough(frame: tuple[int, int], file: str | None, folder: Path) -> None:
    listed = json.loads((folder / models.MANIFEST).read_text())
    listed["models"].append(entry("lite", "small.onnx", (384, 216)))
    (folder / models.MANIFEST).write_text(json.dumps(listed))
    (folder / "small.onnx").touch()

    assert models.find_smaller("lite", frame) == (None if file is None else folder / file)
    assert models.find("lite", (1280, 720)) == folder / "wide.onnx"
    assert models.find_smaller("no such model", frame) is None


def test_without_a_size_the_first_graph_is_found(folder: Path) -> None:
    assert models.find("lite") == folder / "wide.onnx"
    assert models.find("other") == folder / "other.onnx"


def test_unknown_name_lists_what_there_is(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'lit': .* lite \(512x288\), .*, other \(64x64\)"):
        models.find("lit")


def test_graph_whose_file_is_gone_is_an_error(folder: Path) -> None:
    (folder / "tall.onnx").unlink()

    with pytest.raises(ModelError, match=r"lite \(288x512\) is missing: .*tall\.onnx; install rtmatte again"):
        models.find("lite", (720, 1280))


def test_recorded_hash_is_that_of_the_file_in_the_folder_only(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "wide.onnx").touch()

    assert models.recorded_sha256(folder / "wide.onnx") == "hash of wide.onnx"
    assert models.recorded_sha256(folder / "unlisted.onnx") is None
    assert models.recorded_sha256(elsewhere / "wide.onnx") is None


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"models": 5}', '{"models": [{"name": "lite"}]}', "\xff"])
def test_damaged_manifest_is_a_model_error(text: str | None, folder: Path) -> None:
    manifest = folder / models.MANIFEST
    manifest.unlink()
    if text is not None:
        manifest.write_bytes(text.encode("latin-1"))

    with pytest.raises(ModelError, match=r"damaged .* install rtmatte again"):
        models.listing()
