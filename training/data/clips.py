"""Clips with known alpha, composed on the fly: one person to follow, perhaps others, things in front, light and camera.

Shapes: B clips, T frames, H, W. Everything is drawn from one seed; textures stay uint8 until they are used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data import layers
from training.data.assets import LOOKS, Assets
from training.data.backgrounds import backgrounds, play
from training.data.dice import Dice
from training.data.layers import Framing, Placement
from training.data.masks import given_mask
from training.data.photometry import (
    camera,
    clothes_matrix,
    coloured,
    dress,
    harmonise,
    lifted_hem,
    light,
    soft_presence,
    trousers,
)

_PRESENT = 0.1  # a person whose greatest alpha is below this is not in the picture


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What to make. Probabilities are per clip; `motion` and `photometric` scale how much is done (0 is none)."""

    height: int = 112
    width: int = 192
    frames: int = 4
    batch: int = 4
    second_person: float = 0.35
    twins: float = 0.0  # the second person has the same size and, often, the same looks
    occluder: float = 0.25
    cutout: float = 0.2  # the person is a real-motion cut-out
    strands: float = 0.5
    motion: float = 1.0
    still: float = 0.5  # the background does not move at all
    covered: float = 0.0  # one to six dark or blank frames
    leave: float = 0.0  # the person leaves the picture and comes back
    gap: int | tuple[int, int] = 1  # time from frame to frame, or its bounds
    no_mask: float = 0.0  # share of central clips whose mask is all -1
    rough: float = 0.0  # share of masks that are polygons of few corners
    limbless: float = 0.0  # share of the other masks that have lost hands and arms
    resting: float = 0.0  # share of things in front that lie on the person and are much of the colour there
    entering: float = 0.0  # share of the other things in front that come into the picture during the clip
    photometric: float = 1.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Clip:
    """A made batch: float32, 0..1 but for the mask of a clip that has none, which is -1 everywhere."""

    frames: Tensor  # [B, T, 3, H, W]
    alpha: Tensor  # [B, T, 1, H, W], what is visible of the person to follow
    mask: Tensor  # [B, 1, H, W], the given first mask
    central: Tensor  # bool [B], the person to follow is plainly the central one: usable without a mask
    visible: Tensor  # bool [B, T], false where the person is away or the camera is covered; alpha is 0 there

    def __repr__(self) -> str:
        return f"Clip(frames {tuple(self.frames.shape)}, {int(self.visible.sum())} visible)"


@dataclass(frozen=True, slots=True, eq=False)
class _Cast:
    """Who plays, [n] each: a still person's row or, where `real`, a cut-out clip's; head top; clothes [n, 3, 3]."""

    real: Tensor
    row: Tensor
    top: Tensor
    clothes: Tensor

    def at(self, rows: Tensor) -> _Cast:
        return _Cast(self.real[rows], self.row[rows], self.top[rows], self.clothes[rows])


class ClipMaker:
    """Makes batches from `assets`; the same seed gives the same sequence of clips."""

    def __init__(self, assets: Assets, seed: int, device: torch.device | str = "cpu") -> None:
        self._assets = assets
        self._dice = Dice(seed, device)
        whole = (assets.people, assets.cutouts, assets.objects)
        self._levels = (whole, tuple(_halved(sprites) for sprites in whole))

    def restart(self, seed: int) -> None:
        """Makes from now on what a new maker of that seed makes; pictures are not prepared again."""
        self._dice.restart(seed)

    @torch.no_grad()
    def make(self, options: ClipOptions) -> Clip:
        """A new batch of clips on the maker's device, owned by the caller."""
        dice, count, aspect = self._dice, options.batch, options.width / options.height
        low, high = (options.gap, options.gap) if isinstance(options.gap, int) else options.gap
        gap = dice.integers(count, 1, low=low, high=high).float()
        times = torch.arange(options.frames, device=dice.device) * gap
        size = (options.height, options.width)
        scene, _ = backgrounds(
            self._assets, dice, times, height=size[0], width=size[1], still=options.still, strength=options.motion
        )
        twins = dice.chance(count, options.twins)
        second = dice.chance(count, options.second_person) | twins
        hero = self._cast(count, options)
        main, other = self._framings(hero, twins, aspect)
        double = self._partner(hero, twins, options)
        place = layers.move(dice, main, hero.top, times, aspect=aspect, strength=options.motion)
        away = layers.departure(dice, count, options.frames, aspect) * dice.chance(count, options.leave)[:, None]
        place = place.moved(away, layers.rising(dice, count, options.frames))
        person = self._draw(hero, place, times, scene, options)
        in_front = second & dice.chance(count, 0.25)
        beside = layers.move(dice, other, double.top, times, aspect=aspect, strength=options.motion)
        rows = torch.nonzero(second).flatten()
        scene, front, pieces = self._bystanders(double, beside, rows, in_front, times, scene, options)
        frames = self._blend(scene, person, options.photometric)
        alpha = person[:, :, 3:]
        for layer_rows, layer in [*front, *self._things(times, scene, person, place, options)]:
            frames[layer_rows] = layers.over(layer, frames[layer_rows])
            alpha[layer_rows] *= 1 - layer[:, :, 3:]
        central = ~pieces & (~second | (~twins & ~in_front & (main.x.abs() + 0.15 * aspect < other.x.abs())))
        return self._finish(frames, alpha, times, central, options)

    def _framings(self, hero: _Cast, twins: Tensor, aspect: float) -> tuple[Framing, Framing]:
        """Half of the people are shown down to where their cut-out ends, real ones almost always: few wear trousers."""
        whole = self._dice.chance(len(twins), 0.5) | (hero.real & self._dice.chance(len(twins), 0.8))
        main = layers.webcam_framing(self._dice, len(twins), aspect, whole)
        other = layers.background_framing(self._dice, len(twins), aspect, main)
        one, two = layers.twin_framings(self._dice, len(twins), aspect)
        return _either(twins, one, main), _either(twins, two, other)

    def _cast(self, count: int, options: ClipOptions) -> _Cast:
        dice, assets = self._dice, self._assets
        person = dice.integers(count, low=0, high=len(assets.people) // LOOKS - 1)
        look = dice.integers(count, low=1, high=LOOKS - 1) * dice.chance(count, options.strands)
        row, top = person * LOOKS + look, assets.people_top[person * LOOKS]
        real = dice.chance(count, options.cutout)
        if len(assets.cutout_spans) == 0:
            real = torch.zeros_like(real)
        else:
            clip = dice.integers(count, low=0, high=len(assets.cutout_spans) - 1)
            row, top = torch.where(real, clip, row), torch.where(real, assets.cutout_top[clip], top)
        return _Cast(real, row, top, clothes_matrix(dice, count))

    def _partner(self, hero: _Cast, twins: Tensor, options: ClipOptions) -> _Cast:
        """The second person: anybody, but for twins often dressed like the first, and as often the same one."""
        other = self._cast(len(twins), replace(options, cutout=options.cutout / 2))
        alike = twins & self._dice.chance(len(twins), 0.7)
        same = alike & self._dice.chance(len(twins), 0.6)
        clothes = torch.where(alike[:, None, None], hero.clothes, other.clothes)
        real, row, top = (
            torch.where(same, a, b) for a, b in ((hero.real, other.real), (hero.row, other.row), (hero.top, other.top))
        )
        return _Cast(real, row, top, clothes)

    def _draw(self, cast: _Cast, place: Placement, times: Tensor, scene: Tensor, options: ClipOptions) -> Tensor:
        """RGBA [n, T, 4, H, W] of people in the light of `scene`."""
        people, cutouts, _ = self._levels[layers.sprite_level(options.height)]
        out = torch.empty(*times.shape, 4, *scene.shape[-2:], device=scene.device)
        for real in (False, True):
            rows = torch.nonzero(cast.real == real).flatten()
            if len(rows) == 0:
                continue
            part = cast.at(rows)
            if real:
                shown = play(self._dice, self._assets.cutout_spans[part.row], times[rows])
                sprites = cutouts[shown]
            else:
                sprites = people[part.row][:, None]
            sprites = dress(sprites.float().mul_(1 / 255), part.top, part.clothes)
            if options.photometric > 0:
                sprites = trousers(sprites, self._dice)
                sprites = harmonise(sprites, scene[rows], self._dice)
            grid = layers.sprite_grid(_rows_of(place, rows), options.height, options.width)
            out[rows] = layers.sample(sprites, grid)
        return lifted_hem(out, self._dice) if options.photometric > 0 else out

    def _bystanders(
        self,
        cast: _Cast,
        place: Placement,
        rows: Tensor,
        in_front: Tensor,
        times: Tensor,
        scene: Tensor,
        options: ClipOptions,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor]:
        """The scene with second people behind; (rows, RGBA) in front; bool [B], somebody reaches in."""
        front: list[tuple[Tensor, Tensor]] = []
        if len(rows):
            drawn = self._draw(cast.at(rows), _rows_of(place, rows), times[rows], scene[rows], options)
            behind = ~in_front[rows]
            scene[rows[behind]] = layers.over(drawn[behind], scene[rows[behind]])
            if bool(in_front[rows].any()):
                front.append((rows[~behind], drawn[~behind]))
        pieces = self._dice.chance(len(times), options.occluder * 0.35)
        rows = torch.nonzero(pieces).flatten()
        if len(rows):
            aspect = options.width / options.height
            stranger = self._cast(len(rows), replace(options, cutout=0.0))
            reach = layers.reaching_in(self._dice, stranger.top, times[rows], aspect=aspect, strength=options.motion)
            if options.entering > 0:
                reach = layers.arrival(self._dice, reach, aspect, self._dice.chance(len(rows), options.entering))
            front.append((rows, self._draw(stranger, reach, times[rows], scene[rows], options)))
        return scene, front, pieces

    def _things(
        self, times: Tensor, scene: Tensor, person: Tensor, place: Placement, options: ClipOptions
    ) -> list[tuple[Tensor, Tensor]]:
        """(rows, RGBA) of things held or standing before the person, or resting on them."""
        rows = torch.nonzero(self._dice.chance(len(times), options.occluder * 0.65)).flatten()
        if len(rows) == 0:
            return []
        objects = self._levels[layers.sprite_level(options.height)][2]
        chosen = self._dice.integers(len(rows), low=0, high=len(objects) - 1)
        sprites = objects[chosen][:, None].float().mul_(1 / 255)
        if options.photometric > 0:
            sprites = harmonise(sprites, scene[rows], self._dice)
        aspect = options.width / options.height
        where = layers.held_thing(self._dice, times[rows], aspect=aspect, strength=options.motion)
        rests = torch.zeros(len(rows), dtype=torch.bool, device=self._dice.device)
        if options.resting > 0:
            rests = self._dice.chance(len(rows), options.resting)
            spot, colour = layers.spot_on(self._dice, person[rows, 0], aspect)
            where = layers.resting(where, _rows_of(place, rows), spot, rests)
            sprites = torch.where(rests.view(-1, 1, 1, 1, 1), coloured(sprites, colour, self._dice), sprites)
        if options.entering > 0:
            enters = self._dice.chance(len(rows), options.entering) & ~rests
            where = layers.arrival(self._dice, where, aspect, enters)
        grid = layers.sprite_grid(where, options.height, options.width, grounded=False)
        return [(rows, layers.sample(sprites, grid))]

    def _blend(self, scene: Tensor, person: Tensor, strength: float) -> Tensor:
        """The person over the scene; a third of them with a shadow behind and light wrapped round the outline."""
        rows = torch.nonzero(self._dice.chance(len(scene), 0.33 if strength > 0 else 0.0)).flatten()
        if len(rows):
            behind, body = scene[rows], person[rows]
            presence = soft_presence(body[:, :, 3:])
            weight = self._dice.uniform(2, len(rows), 1, 1, 1, 1) * strength
            spill = soft_presence(behind.flatten(1, 2)[:, :, None]).reshape(behind.shape)
            body[:, :, :3] = torch.lerp(body[:, :, :3], spill, (1 - presence) * weight[0] * 0.6)
            drop = max(1, scene.shape[-2] // 24)
            shadow = F.pad(presence[..., :-drop, :], (0, 0, drop, 0))
            person[rows], scene[rows] = body, behind * (1 - 0.4 * weight[1] * shadow)
        return layers.over(person, scene)

    def _finish(self, frames: Tensor, alpha: Tensor, times: Tensor, central: Tensor, options: ClipOptions) -> Clip:
        dice, strength = self._dice, options.photometric
        frames = light(frames, times, dice, strength) if strength > 0 else frames
        covered = _covered(dice, options)
        blank = dice.uniform(len(frames), 3, high=0.08) + dice.chance(len(frames), 0.2)[:, None] * dice.uniform(
            len(frames), 3
        )
        frames = torch.where(covered[..., None, None, None], blank[:, None, :, None, None], frames)
        frames = camera(frames, dice, strength)
        visible = ~covered & (alpha.amax((2, 3, 4)) > _PRESENT)
        alpha = alpha * visible[..., None, None, None]
        mask = given_mask(alpha[:, 0], dice, rough=options.rough, limbless=options.limbless)
        unmasked = central & dice.chance(len(frames), options.no_mask)
        mask = torch.where(unmasked[:, None, None, None], -1.0, mask)
        return Clip(frames, alpha, mask, central, visible)


def _covered(dice: Dice, options: ClipOptions) -> Tensor:
    """Bool [B, T]: a run of one to six frames, never the first, where nothing can be seen."""
    longest = min(6, options.frames - 1)
    if longest < 1 or options.covered <= 0:
        return torch.zeros(options.batch, options.frames, dtype=torch.bool, device=dice.device)
    length = dice.integers(options.batch, 1, low=1, high=longest)
    room = (options.frames - length).clamp(min=1)  # the run starts at 1 or later and most often ends before the clip
    start = 1 + (dice.uniform(options.batch, 1) * (room - 1).clamp(min=1)).floor().long()
    frame = torch.arange(options.frames, device=dice.device)
    return (frame >= start) & (frame < start + length) & dice.chance(options.batch, options.covered)[:, None]


def _either(first: Tensor, one: Framing, two: Framing) -> Framing:
    return Framing(
        torch.where(first, one.head, two.head),
        torch.where(first, one.height, two.height),
        torch.where(first, one.x, two.x),
    )


def _rows_of(place: Placement, rows: Tensor) -> Placement:
    return Placement(*(getattr(place, name)[rows] for name in Placement.__slots__))


def _halved(sprites: Tensor) -> Tensor:
    """uint8 sprites at half the size, some at a time to keep the float copy small."""
    if len(sprites) == 0:
        return sprites[..., ::2, ::2]
    return torch.cat([F.avg_pool2d(part.float(), 2).round_().to(torch.uint8) for part in torch.split(sprites, 16)])
