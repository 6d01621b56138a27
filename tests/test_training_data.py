"""Made clips, on tiny assets built here: no file outside the repository is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rtmatte.errors import SourceError
from training.data.assets import HELD_OUT_PEOPLE, LOOKS, Assets, load_assets, people_names
from training.data.clips import Clip, ClipMaker, ClipOptions
from training.data.dice import Dice
from training.data.jpeg import jpeg
from training.data.layers import Placement, arrival, resting, spot_on
from training.data.photometry import lifted_hem
from training.data.pool import ReplayPool

SMALL = ClipOptions(height=48, width=80, frames=6, batch=6)
ALL = replace(
    SMALL, second_person=0.5, twins=0.3, occluder=0.6, cutout=0.5, covered=0.4, leave=0.4, gap=(1, 4), no_mask=0.5
)


def _bytes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(shape)))


def _bodies(count: int) -> Tensor:
    """A head on a torso that reaches the lower edge."""
    bodies = _bytes(count, 4, 128, 128)
    bodies[:, 3] = 0
    bodies[:, 3, 12:52, 48:80] = 255
    bodies[:, 3, 52:, 20:108] = 255
    return bodies


@pytest.fixture
def assets() -> Assets:
    thing = _bytes(2, 4, 64, 64)
    thing[:, 3] = 0
    thing[:, 3, 16:48, 16:48] = 255
    spans = torch.tensor([[0, 5]])
    return Assets(
        people=_bodies(3 * LOOKS),
        people_top=torch.full((3 * LOOKS,), 6 / 64),
        cutouts=_bodies(5),
        cutout_spans=spans,
        cutout_top=torch.tensor([6 / 64]),
        objects=thing,
        backgrounds=_bytes(3, 3, 72, 128),
        panoramas=_bytes(2, 3, 64, 128),
        videos=_bytes(5, 3, 36, 64),
        video_spans=spans,
    )


def _same(one: Clip, two: Clip) -> bool:
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in Clip.__slots__)


def test_a_clip_has_the_asked_shapes_and_ranges(assets: Assets) -> None:
    clip = ClipMaker(assets, seed=1).make(ALL)

    assert clip.frames.shape == (6, 6, 3, 48, 80)
    assert clip.alpha.shape == (6, 6, 1, 48, 80)
    assert clip.mask.shape == (6, 1, 48, 80)
    assert clip.central.shape == (6,)
    assert clip.visible.shape == (6, 6)
    for pixels in (clip.frames, clip.alpha):
        assert pixels.dtype == torch.float32
        assert pixels.min() >= 0
        assert pixels.max() <= 1
        assert not pixels.isnan().any()


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (50, 66)])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_any_size_and_length_can_be_made(assets: Assets, size: tuple[int, int], frames: int) -> None:
    clip = ClipMaker(assets, seed=2).make(replace(ALL, height=size[0], width=size[1], frames=frames))

    assert clip.frames.shape == (6, frames, 3, *size)
    assert clip.frames.isfinite().all()


def test_the_seed_decides_every_pixel(assets: Assets) -> None:
    one, two, other = (ClipMaker(assets, seed).make(ALL) for seed in (3, 3, 4))

    assert _same(one, two)
    assert not torch.equal(one.frames, other.frames)


def test_alpha_is_zero_where_the_person_is_not_visible(assets: Assets) -> None:
    clip = ClipMaker(assets, seed=5).make(replace(ALL, covered=0.5, leave=0.5, batch=16))

    assert (~clip.visible).any()
    assert clip.alpha[~clip.visible].abs().max() == 0
    assert (clip.alpha[clip.visible].amax((1, 2, 3)) > 0.1).all()


def test_a_covered_camera_shows_one_tone_after_a_first_clear_frame(assets: Assets) -> None:
    clip = ClipMaker(assets, seed=6).make(replace(SMALL, covered=1.0, occluder=0.0, photometric=0.0))

    assert clip.visible[:, 0].all()
    assert (~clip.visible).any(1).all()
    assert clip.frames[~clip.visible].flatten(2).std(-1).max() < 1e-6


def test_people_who_leave_are_gone_and_come_back(assets: Assets) -> None:
    clip = ClipMaker(assets, seed=7).make(
        replace(SMALL, frames=16, leave=1.0, second_person=0.0, occluder=0.0, motion=0.3)
    )

    assert clip.visible[:, 0].all()
    assert (~clip.visible).any(1).all()
    assert clip.visible[:, -1].float().mean() > 0.5


def test_a_still_camera_sees_a_still_background(assets: Assets) -> None:
    quiet = replace(SMALL, second_person=0.0, occluder=0.0, still=1.0, photometric=0.0, motion=2.0)
    clip = ClipMaker(assets, seed=8).make(quiet)
    free = (clip.alpha.amax(1) == 0).expand(-1, 3, -1, -1)

    assert free.float().mean() > 0.1
    for frame in range(1, quiet.frames):
        assert torch.equal(clip.frames[:, frame][free], clip.frames[:, 0][free])
    moving = ClipMaker(assets, seed=8).make(replace(quiet, still=0.0))
    free = (moving.alpha.amax(1) == 0).expand(-1, 3, -1, -1)
    assert (moving.frames[:, -1] - moving.frames[:, 0])[free].abs().mean() > 0.02


def test_the_body_reaches_the_lower_edge_in_every_frame(assets: Assets) -> None:
    clip = ClipMaker(assets, seed=9).make(replace(SMALL, batch=32, second_person=0.0, occluder=0.0, frames=12))

    assert (clip.alpha[:, :, 0, -1].amax(-1) > 0.9).float().mean() > 0.98


def test_what_is_below_a_hem_is_the_person_and_never_wider_than_the_person() -> None:
    people = torch.rand(24, 4, 4, 64, 48, generator=torch.Generator().manual_seed(3))
    people[:, :, :3, :, :] = torch.tensor([0.1, 0.2, 0.7])[:, None, None]  # nothing of the colour of skin
    people[:, :, 3] = 0
    people[:, :, 3, 8:, 8:40] = 1
    worn = lifted_hem(people, Dice(3))

    assert (worn[:, :, 3] <= people[:, :, 3] + 1e-6).all()
    changed = (worn[:, :, :3] != people[:, :, :3]).any(2)
    assert 0.2 < changed[:, -1].any(-1).any(-1).float().mean() < 0.8
    narrower = people[:, -1, 3].sum((1, 2)) - worn[:, -1, 3].sum((1, 2)) > 1
    assert 0 < narrower.float().mean() < 0.5
    widths = worn[:, -1, 3, -1].sum(-1) / people[:, -1, 3, -1].sum(-1)
    assert widths.min() > 0.8


def test_twins_are_never_central_and_a_lone_person_is(assets: Assets) -> None:
    maker = ClipMaker(assets, seed=10)

    assert not maker.make(replace(SMALL, twins=1.0)).central.any()
    alone = maker.make(replace(SMALL, second_person=0.0, occluder=0.0, no_mask=1.0))
    assert alone.central.all()
    assert (alone.mask == -1).all()


def test_a_spot_on_a_person_has_their_colour() -> None:
    person = torch.zeros(32, 4, 72, 128)
    person[:, 0], person[:, 3, 16:, 40:80] = 1.0, 1.0
    person[:, 2, :, 64:] = 0.5

    spot, colour = spot_on(Dice(2), person, 128 / 72)

    column, row = (spot[:, 0] / (128 / 72) + 0.5) * 128, spot[:, 1] * 72
    assert ((column >= 40) & (column < 80) & (row >= 16)).all()
    assert torch.allclose(colour[:, 2], 0.5 * (column >= 64).float())
    assert len(set(column.tolist())) + len(set(row.tolist())) > 8


def test_what_rests_on_a_person_goes_along(assets: Assets) -> None:
    still = torch.zeros(4, 6)
    one = Placement(still, still, still + 0.5, still, still[:, 0] + 1, still[:, 0] + 1, torch.zeros(4, 6, 2, 5, 5))
    walks = one.moved(torch.linspace(0, 0.6, 6).expand(4, -1), still)
    rests = torch.tensor([True, False, True, False])

    moved = resting(one, walks, torch.full((4, 2), 0.25), rests)

    assert torch.allclose(moved.x[rests], 0.25 + walks.x[rests])
    assert torch.equal(moved.x[~rests], one.x[~rests])
    options = replace(SMALL, occluder=1.0, second_person=0.0, motion=0.0, photometric=0.0)
    covered, free = (ClipMaker(assets, seed=4).make(replace(options, resting=share)).alpha for share in (1.0, 0.0))
    assert not torch.equal(covered, free)


def test_what_enters_is_out_of_sight_at_first_and_in_its_place_at_last(assets: Assets) -> None:
    still = torch.zeros(64, 8)
    place = Placement(still + 0.2, still + 0.6, still + 0.5, still, still[:, 0] + 1, still[:, 0] + 1, still)
    enters = torch.arange(64) % 2 == 0

    moved = arrival(Dice(3), place, 16 / 9, enters)

    x, y = moved.x[enters], moved.y[enters]
    assert ((x[:, 0] - 0.25 > 8 / 9) | (y[:, 0] - 0.25 > 1)).all()
    assert (x[:, 0] > 1).any()
    assert (y[:, 0] > 1).any()
    assert (torch.diff(x) <= 0).all()
    assert (torch.diff(y) <= 0).all()
    settled = torch.isclose(x[:, -1], torch.tensor(0.2)) & torch.isclose(y[:, -1], torch.tensor(0.6))
    assert settled.float().mean() > 0.5
    assert torch.equal(moved.x[~enters], place.x[~enters])
    assert torch.equal(moved.y[~enters], place.y[~enters])
    options = replace(SMALL, batch=32, occluder=1.0, second_person=0.0, cutout=0.0)
    first, later = (ClipMaker(assets, seed=4).make(replace(options, entering=share)).alpha for share in (1.0, 0.0))
    assert first[:, 0].mean() > later[:, 0].mean()


def test_jpeg_keeps_flat_pictures_and_loses_more_at_lower_quality() -> None:
    flat = torch.full((1, 3, 30, 50), 0.5)
    busy = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(12))

    fine, rough = (jpeg(busy, torch.tensor([quality])) for quality in (95.0, 35.0))

    assert (jpeg(flat, torch.tensor([90.0])) - flat).abs().max() < 0.01
    assert (fine - busy).abs().mean() < (rough - busy).abs().mean()


def test_paths_stay_in_their_bounds_however_long() -> None:
    path = Dice(13).path(8, torch.arange(5000.0).expand(8, -1), channels=4)

    assert path.abs().max() <= 1


def _from_seed(maker: ClipMaker) -> Callable[[ClipOptions, int], Clip]:
    def make(options: ClipOptions, seed: int) -> Clip:
        maker.restart(seed)
        return maker.make(options)

    return make


def test_a_pool_that_was_told_what_was_asked_for_gives_what_the_first_one_gives(assets: Assets) -> None:
    maker = ClipMaker(assets, seed=0)
    pools = [ReplayPool(_from_seed(maker), dice=Dice(3), size=3, reuse=0.5) for _ in range(2)]
    for turn in range(6):
        pools[0].get(SMALL, turn)
        pools[1].note(SMALL, turn)

    for turn in range(6, 10):
        assert _same(*(pool.get(SMALL, turn) for pool in pools))


def test_the_pool_gives_changed_clips_with_masks_of_their_first_frame(assets: Assets) -> None:
    maker = ClipMaker(assets, seed=14)
    pool = ReplayPool(_from_seed(maker), dice=Dice(15), reuse=1.0)
    options = replace(SMALL, leave=0.5, covered=0.5)
    first = pool.get(options, 1)

    again = pool.get(options, 2)

    assert len(pool) == 1
    assert not torch.equal(again.frames, first.frames)
    assert again.visible[:, 0].equal(first.visible[:, 0])
    assert again.alpha[~again.visible].abs().max() == 0
    overlap = (again.mask * again.alpha[:, 0]).sum((1, 2, 3)) / again.alpha[:, 0].sum((1, 2, 3))
    assert overlap.min() > 0.4


def test_the_pool_forgets_the_oldest_and_never_mixes_options(assets: Assets) -> None:
    maker = ClipMaker(assets, seed=16)
    pool = ReplayPool(_from_seed(maker), dice=Dice(17), size=3, reuse=0.5)

    for turn in range(12):
        options = SMALL if turn % 2 else replace(SMALL, height=32)
        assert pool.get(options, turn).frames.shape[-2] == options.height
        assert len(pool) <= 3


def test_held_out_people_are_in_no_training_split(tmp_path: Path) -> None:
    for name in (*HELD_OUT_PEOPLE, "m0001", "w0002", "w0253"):
        (tmp_path / f"emv2_{name}_pha.png").touch()

    train, held_out = people_names(tmp_path, "train"), people_names(tmp_path, "held_out")

    assert train == ["emv2_m0001", "emv2_w0002"]
    assert len(held_out) == len(HELD_OUT_PEOPLE)


def test_missing_training_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected training pictures in"):
        load_assets(tmp_path, "train")
