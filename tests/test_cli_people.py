"""`rtmatte file` with several masks, and with the sizes that MatAnyone's protocol knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.cli import main
from rtmatte.contract import Gates
from rtmatte.frame import Alpha
from rtmatte.imaging import dilate_then_erode, load_mask, save_png
from rtmatte.resampling import shrink_nearest
from rtmatte.step import State
from tests.conftest import UseEngine

SIZE = (96, 36)


def disc(x: int) -> NDArray[np.bool_]:
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    inside: NDArray[np.bool_] = (across - x) ** 2 + (down - 18) ** 2 < 64
    return inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of two discs in `in`, and their masks, 0.png and 1.png."""
    (tmp_path / "in").mkdir()
    for seq in range(3):
        light = np.where(disc(20 + seq) | disc(66 + seq), 220, 20).astype(np.uint8)
        save_png(tmp_path / "in" / f"{seq}.png", np.repeat(light[..., None], 3, axis=2))
    for who, x in enumerate((20, 66)):
        save_png(tmp_path / f"{who}.png", np.where(disc(x), 255, 0).astype(np.uint8))
    return tmp_path


def line(folder: Path, *more: str) -> list[str]:
    return ["file", str(folder / "in"), str(folder / "out"), "--write", "alpha", *more]


@pytest.mark.parametrize("batch", [1, 2])
def test_two_masks_cut_out_two_people(folder: Path, use_engine: UseEngine, batch: int) -> None:
    use_engine(lambda: FakeEngine(*SIZE, batch=batch))
    masks = ["--mask", str(folder / "0.png"), "--mask", str(folder / "1.png")]

    assert main(line(folder, *masks)) == 0

    alpha = load_mask(folder / "out" / "0002.png").values
    assert np.abs(alpha - (disc(22) | disc(68))).mean() < 0.01


def test_each_person_is_written_to_an_output_of_their_own_beside_everybody(folder: Path, use_engine: UseEngine) -> None:
    use_engine(lambda: FakeEngine(*SIZE, batch=2))
    masks = ["--mask", str(folder / "0.png"), "--mask", str(folder / "1.png")]

    assert main(line(folder, *masks, "--per-target")) == 0

    shown = {"out": disc(22) | disc(68), "out-1": disc(22), "out-2": disc(68)}
    for name, expected in shown.items():
        assert np.abs(load_mask(folder / name / "0002.png").values - expected).mean() < 0.01, name


def test_an_output_of_one_person_that_exists_is_not_replaced(
    folder: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*SIZE))
    (folder / "out-1").mkdir()
    (folder / "out-1" / "mine.txt").write_text("")

    assert main(line(folder, "--mask", str(folder / "0.png"), "--per-target")) == 2

    assert "out-1" in capsys.readouterr().err.replace("\n", "")
    assert not (folder / "out").exists()


def test_outputs_of_people_nobody_named_are_bad_input(
    folder: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*SIZE))

    assert main(line(folder, "--per-target")) == 2

    assert "--mask" in capsys.readouterr().err


def test_a_model_of_another_number_of_people_is_bad_input(
    folder: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*SIZE, batch=3))

    assert main(line(folder, "--mask", str(folder / "0.png"), "--mask", str(folder / "1.png"))) == 2

    assert "--batch 2" in capsys.readouterr().err.replace("\n", " ")


def test_a_model_of_another_size_than_the_internal_one_is_bad_input(
    folder: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*SIZE))

    assert main(line(folder, "--mask", str(folder / "0.png"), "--internal-size", "24")) == 2

    assert "--size 64x24" in capsys.readouterr().err.replace("\n", " ")


def test_the_alpha_of_an_internal_size_has_the_size_of_the_pictures(folder: Path, use_engine: UseEngine) -> None:
    use_engine(lambda: FakeEngine(64, 24))

    assert main(line(folder, "--mask", str(folder / "0.png"), "--internal-size", "24")) == 0

    alpha = load_mask(folder / "out" / "0001.png").values
    assert np.abs(alpha - disc(21)).mean() < 0.02


def test_a_mask_is_treated_before_it_is_reduced_with_the_pictures(folder: Path, use_engine: UseEngine) -> None:
    seeds: list[Alpha] = []

    class Seen(FakeEngine):
        def step(
            self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State
        ) -> tuple[NDArray[Any], State]:
            if mask is not None:
                seeds.append(mask[0, 0].copy())
            return super().step(frame, mask, gates, state)

    use_engine(lambda: Seen(64, 24))

    assert main(line(folder, "--mask", str(folder / "0.png"), "--max-size", "24", "--dilate", "5", "--erode", "2")) == 0

    treated = dilate_then_erode(load_mask(folder / "0.png"), dilate=5, erode=2)
    np.testing.assert_array_equal(seeds[0], shrink_nearest(treated.values, (64, 24)))
