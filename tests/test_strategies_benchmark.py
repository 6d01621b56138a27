"""The comparison of strategies: what is trained once, what again, and who has mattes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import strategies
from benchmarks.strategies import few_mattes, score, small_stages, train
from rtmatte.network.lite import Lite
from tests.discs import NARROW, DiscMaterial
from tests.replay import numbered_clip
from tests.test_held_out import pictures
from training.data.assets import LOOKS
from training.stages import Stages


def tiny(strategy: str) -> Stages:
    return tuple(replace(stage, size=(32, 48), frames=2, batch=1) for stage in small_stages(strategy, (1, 1, 1)))


class Counted(DiscMaterial):
    """Discs, and how many batches of them were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def matting(self, stage, number):  # type: ignore[no-untyped-def]
        self.asked += 1
        return super().matting(stage, number)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "Lite", lambda: Lite(NARROW))


@pytest.mark.usefixtures("narrow")
def test_stages_that_strategies_share_are_trained_once_and_a_finished_run_not_again(tmp_path: Path) -> None:
    material, asked = Counted(), []
    for strategy in ("full", "full", "no-core", "ddc", "no-fusion"):
        train(tiny(strategy), material, tmp_path, seed=0)
        asked.append(material.asked)

    assert asked == [3, 3, 5, 7, 10]


@pytest.mark.usefixtures("narrow")
def test_a_strategy_without_fusion_is_scored_without_it(tmp_path: Path) -> None:
    weights = train(tiny("full")[:1], DiscMaterial(), tmp_path, seed=0)
    clip = numbered_clip(3)

    fused, alone = (score(weights, [clip], fused=fused) for fused in (True, False))

    assert list(fused) == ["mad", "mse", "grad", "dtssd", "core"]
    assert fused != alone


def test_nobody_has_both_a_matte_and_only_a_mask() -> None:
    assets = pictures()
    many = replace(
        assets,
        people=torch.arange(8 * LOOKS, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 4, 2, 2),
        people_top=torch.zeros(8 * LOOKS),
        backgrounds=torch.zeros(20, 3, 2, 2, dtype=torch.uint8),
    )

    known, masked = few_mattes(many)

    assert (len(known.people), len(masked.people)) == (6 * LOOKS, 2 * LOOKS)
    assert not set(known.people.flatten().tolist()) & set(masked.people.flatten().tolist())
    assert len(known.cutout_spans) == 0
