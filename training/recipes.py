"""Recipes: what is trained in which order. A recipe is a list of phases; a phase is data, losses and a learning rate.

The order matters. Trained naively, such a network becomes a propagator of its last alpha and never reads its bank, and
no ordinary metric shows it; so the bank is trained alone first, and every later phase drops the last frame's state in
part of the clips and keeps every size in the mix.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from training.data.clips import ClipOptions

Size = tuple[int, int]  # (height, width)

SMALL: tuple[Size, ...] = ((112, 192), (144, 192), (192, 112), (128, 128))
MIDDLE: tuple[Size, ...] = ((144, 256), (192, 256), (256, 144), (208, 368))
LARGE: tuple[Size, ...] = ((288, 384), (240, 432), (384, 224))
FULL: tuple[Size, ...] = ((288, 512), (384, 512), (512, 288))


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a recipe. Probabilities are per clip unless they say otherwise."""

    name: str
    steps: int
    sizes: tuple[tuple[float, tuple[Size, ...]], ...]  # (share of the steps, sizes)
    frames: tuple[int, int]  # bounds of the clip length at the smallest sizes
    pixels: int  # per process and step: sets the batch, and shortens clips at large sizes
    rate: tuple[float, float]  # learning rate at the start and the end, cosine between
    bank_only: float = 0.0
    drop: float = 0.3
    spoil: float = 0.15
    rehearse: float = 0.0  # share of the steps that judge a clip only after it has been played to and fro
    edge: float = 2.0  # extra weight of the edge band
    coarse: float = 0.1  # weight of the 1/16 and 1/4 logits
    read: float = 0.1  # weight of the alpha read from the bank
    freeze_norm: bool = False
    averaging: float = 0.998  # decay of the averaged weights, which are what ships
    average_anew: bool = False  # start the average over: it forgets what the phases before it did not know
    data: ClipOptions = field(default_factory=ClipOptions)


_FULL_SIZE = Phase(
    name="full size",
    steps=2900,
    sizes=((0.1, SMALL), (0.2, MIDDLE), (0.25, LARGE), (0.45, FULL)),
    frames=(5, 10),
    pixels=900_000,
    rate=(6e-4, 2e-5),
    bank_only=0.08,
    edge=4.0,
    coarse=0.03,
    freeze_norm=True,
    data=ClipOptions(second_person=0.3, twins=0.1, gap=(1, 2), covered=0.15, leave=0.15, no_mask=0.2, cutout=0.2),
)

# The end of a recipe: a low rate, and an average over nothing but this phase.
_POLISH = replace(_FULL_SIZE, name="polish", averaging=0.99, average_anew=True)

LITE = (
    Phase(
        name="bank",
        steps=2400,
        sizes=((1.0, SMALL),),
        frames=(2, 3),
        pixels=300_000,
        rate=(2e-3, 1.6e-3),
        bank_only=0.8,
        drop=0.0,
        spoil=0.0,
        coarse=0.5,
        read=0.5,
        data=ClipOptions(second_person=0.5, twins=0.25, gap=(1, 12), no_mask=0.1, cutout=0.15),
    ),
    Phase(
        name="clips",
        steps=2600,
        sizes=((0.75, SMALL), (0.25, MIDDLE)),
        frames=(3, 6),
        pixels=360_000,
        rate=(1.6e-3, 8e-4),
        bank_only=0.15,
        read=0.2,
        data=ClipOptions(second_person=0.35, twins=0.1, gap=(1, 4), covered=0.08, leave=0.08, no_mask=0.2, cutout=0.15),
    ),
    Phase(
        name="larger",
        steps=1500,
        sizes=((0.3, SMALL), (0.45, MIDDLE), (0.25, LARGE)),
        frames=(4, 9),
        pixels=520_000,
        rate=(8e-4, 3e-4),
        bank_only=0.1,
        edge=3.0,
        coarse=0.05,
        data=ClipOptions(second_person=0.3, twins=0.1, gap=(1, 3), covered=0.12, leave=0.12, no_mask=0.2, cutout=0.2),
    ),
    _FULL_SIZE,
    replace(_POLISH, steps=480, rate=(1.5e-4, 1e-5)),
)

# Full size again, half of it in the shape that has the most rows: for weights that are trained already.
_AGAIN = replace(
    _FULL_SIZE,
    sizes=((0.08, SMALL), (0.15, MIDDLE), (0.22, LARGE), (0.55, (*FULL, FULL[1]))),
    data=replace(_FULL_SIZE.data, twins=0.12, cutout=0.3),
)

# Started from the weights of "lite".
FURTHER = (
    replace(_AGAIN, name="further", steps=4000, rate=(7e-4, 3e-5)),
    replace(_POLISH, steps=400, rate=(1.2e-4, 1e-5)),
)

# Started from weights of `training.narrow`: what those blocks lost is learnt again, and states of long use are met.
NARROWED = (
    replace(_AGAIN, name="narrowed", steps=2550, rate=(7e-4, 2e-5), rehearse=0.3),
    replace(_POLISH, steps=250, rate=(1e-4, 1e-5), rehearse=0.4),
)

# Started from the weights of "narrowed": more people as they really are, more of them down to their lower end.
LONGER = (
    replace(
        _AGAIN,
        name="longer",
        steps=3000,
        rate=(8e-4, 2e-5),
        rehearse=0.3,
        data=replace(_AGAIN.data, cutout=0.4),
    ),
    replace(_POLISH, steps=300, rate=(1e-4, 1e-5), rehearse=0.4),
)

# Started from the mean of the weights before "longer" and after it: things in front, and people alike, in every second
# clip.
CROWDED = (
    replace(
        _AGAIN,
        name="crowded",
        steps=1500,
        rate=(5e-4, 2e-5),
        rehearse=0.2,
        data=replace(_AGAIN.data, occluder=0.5, twins=0.2, cutout=0.35),
    ),
    replace(
        _POLISH,
        steps=200,
        rate=(1e-4, 1e-5),
        rehearse=0.3,
        data=replace(_POLISH.data, occluder=0.4, twins=0.15, cutout=0.3),
    ),
)

# Started from what ships: things of the person's own colours that lie on them, first masks drawn with a dozen clicks.
# Several of these, with other seeds, are for `training.finish`.
RESTING = (
    replace(
        _AGAIN,
        name="resting",
        steps=3000,
        rate=(8e-4, 2e-5),
        rehearse=0.3,
        data=replace(_AGAIN.data, occluder=0.35, resting=0.5, rough=0.12, twins=0.15, cutout=0.4),
    ),
    replace(
        _POLISH,
        steps=300,
        rate=(1e-4, 1e-5),
        rehearse=0.4,
        data=replace(_POLISH.data, occluder=0.35, resting=0.5, rough=0.12, twins=0.15, cutout=0.35),
    ),
)

# Started from what ships: half of the things in front come in from the frame's edge, as hems and hands rightly do, and
# a third of the first masks are polygons. For `training.finish`, as "resting".
ENTERING = (
    replace(
        _AGAIN,
        name="entering",
        steps=3000,
        rate=(8e-4, 2e-5),
        rehearse=0.3,
        data=replace(_AGAIN.data, occluder=0.4, resting=0.3, entering=0.5, rough=0.35, twins=0.15, cutout=0.4),
    ),
    replace(
        _POLISH,
        steps=300,
        rate=(1e-4, 1e-5),
        rehearse=0.4,
        data=replace(_POLISH.data, occluder=0.4, resting=0.3, entering=0.5, rough=0.35, twins=0.15, cutout=0.4),
    ),
)

# Started from a mean with runs of "entering": less of it at half the rate, which leaves a mean what it is good at.
GENTLE = (
    replace(ENTERING[0], name="gentle", steps=1000, rate=(4e-4, 2e-5)),
    replace(ENTERING[1], steps=150, rate=(6e-5, 1e-5)),
)

# Started from a mean of all before: many first masks miss hands and arms, which are the person's all the same; fewer
# things come in, which are not.
LIMBLESS = tuple(
    replace(phase, name=name, data=replace(phase.data, entering=0.3, rough=0.25, limbless=0.3))
    for phase, name in zip(GENTLE, ("limbless", "polish"), strict=True)
)

TINY = (
    Phase(
        name="tiny",
        steps=200,
        sizes=((1.0, ((64, 64),)),),
        frames=(3, 3),
        pixels=50_000,
        rate=(2e-3, 1e-3),
        data=ClipOptions(second_person=0.0, occluder=0.0, cutout=0.0),
    ),
)

RECIPES: dict[str, tuple[Phase, ...]] = {
    "lite": LITE,
    "further": FURTHER,
    "narrowed": NARROWED,
    "longer": LONGER,
    "crowded": CROWDED,
    "resting": RESTING,
    "entering": ENTERING,
    "gentle": GENTLE,
    "limbless": LIMBLESS,
    "tiny": TINY,
}
