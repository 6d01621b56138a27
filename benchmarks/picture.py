"""How good the edge looks: colours without the old room, alphas at frame size, a blurred room without the person.

    python -m benchmarks.picture --shared ../shared --json benchmarks/results/picture.json

People and places that training never sees, cut out and put together at 1280x720, with sensor noise. Mattes are the true
ones, or a network's own, at working size. `band`: where the true alpha is between 2 % and 98 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.metrics import grad, mad
from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import open_background, parse_background
from rtmatte.compose.blur import Blur
from rtmatte.compose.host import ComposeOptions, Composite, Foreground
from rtmatte.compose.look import Look
from rtmatte.compose.refine import Refiner
from rtmatte.engine import open_engine
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.imaging import Size, load_image, load_mask, resize
from rtmatte.session import Session
from rtmatte.targets.mask import MaskTarget
from training.data.assets import HELD_OUT_PLACES, people_names

Bytes = NDArray[np.uint8]

SIZE: Size = (1280, 720)
WORKING: Size = (512, 288)
NOISE = 2.0  # levels, standard deviation
STRENGTH = 50.0  # of the blur


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scene:
    """A person (H, W, 3) with a true `alpha` (H, W) in a room, and the frame that a camera would give of both."""

    person: Bytes
    alpha: Alpha
    room: Bytes
    frame: Bytes

    @property
    def band(self) -> NDArray[np.bool_]:
        """Where the person and the room are mixed."""
        band: NDArray[np.bool_] = (self.alpha > 0.02) & (self.alpha < 0.98)
        return band

    def matte(self, alpha: Alpha | None = None) -> Matte:
        """Returns the frame with `alpha`, else with the true one at working size."""
        found = resize(self.alpha, WORKING) if alpha is None else alpha
        return Matte(Frame(0, self.frame, 0.0), found, Phase.TRACKING)


def compose(person: Bytes, alpha: Alpha, room: Bytes, rng: np.random.Generator) -> Scene:
    """Returns the scene of a person before a room, all at one size, with sensor noise."""
    weight = alpha[..., None]
    mixed = weight * person + (1 - weight) * room + rng.normal(0, NOISE, room.shape)
    return Scene(person, alpha, room, np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def scenes(shared: Path, count: int) -> Iterator[Scene]:
    """Yields `count` scenes of the people and places kept aside: equal every time."""
    rng = np.random.default_rng(0)
    data = shared / "traindata"
    names = people_names(data / "people", "held_out")
    places = [p for p in sorted((data / "backgrounds").glob("hdri_*.jpg")) if p.stem.split("_")[1] in HELD_OUT_PLACES]
    for number in range(count):
        name = names[number % len(names)]
        side = int(SIZE[1] * rng.uniform(0.75, 0.95))
        left = int(rng.uniform(0, SIZE[0] - side))
        person, alpha = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.zeros((SIZE[1], SIZE[0]), np.float32)
        part = np.s_[SIZE[1] - side :, left : left + side]
        person[part] = resize(load_image(data / "people" / f"{name}_fgr.jpg"), (side, side))
        alpha[part] = resize(load_mask(data / "people" / f"{name}_pha.png").values, (side, side))
        yield compose(person, alpha, resize(load_image(places[rng.integers(len(places))]), SIZE), rng)


def own_alpha(scene: Scene, model: str) -> Alpha:
    """Returns the alpha that a network finds in the scene, given the true one at 0.5 as its first mask."""
    with closing(open_engine(model, size=SIZE, threads=1)) as engine:
        target = MaskTarget(Mask((scene.alpha > 0.5).astype(np.float32)))
        session = Session(engine, target, ManualClock())
        for number in range(3):
            matte = session.process(Frame(number, scene.frame, 0.0, pts=number / 30))
        assert matte.alpha is not None
        return matte.alpha.copy()


def colour_errors(scene: Scene, alpha: Alpha | None = None) -> tuple[float, float]:
    """Returns the mean error of the cut-out's colours in the band, in levels: as they are, and decontaminated."""
    found = []
    for despill in (0.0, 1.0):
        cut = Foreground(ComposeOptions(), look=Look(despill=despill)).render(scene.matte(alpha)).pixels
        judged = scene.band & (cut[..., 3] > 0)
        found.append(float(np.abs(cut[judged][:, :3].astype(np.float32) - scene.person[judged]).mean()))
    return found[0], found[1]


def upsampling(scene: Scene) -> dict[str, tuple[float, float]]:
    """Returns MAD and Grad of the true alpha brought from working to frame size, by interpolation and as we do it."""
    matte, truth = scene.matte(), np.rint(scene.alpha * 255).astype(np.uint8)
    assert matte.alpha is not None
    ways = {"linear": resize(matte.alpha, SIZE), "guided": Refiner().alpha(matte)}
    levels = {name: np.rint(alpha * 255).astype(np.uint8) for name, alpha in ways.items()}
    return {name: (mad(found, truth), grad(found, truth, protocol="hr")) for name, found in levels.items()}


def blur_errors(scene: Scene) -> NDArray[np.float32]:
    """Returns how far the blurred room is, outside the band and the person, from a blur that knows the room alone.

    It knows the room as it was filmed: where a bright wall's noise is cut off at 255, no blur can give the wall back.
    """
    background = open_background(parse_background(f"blur:{STRENGTH:g}"))
    drawn = Composite(background, ComposeOptions(), ManualClock()).render(scene.matte()).pixels
    height, width = scene.alpha.shape
    sigma = (Blur.WEAKEST + (Blur.WIDEST - Blur.WEAKEST) * STRENGTH / 100) * min(height, width)
    free = (1 - scene.alpha)[..., None].astype(np.float32)
    room = np.where(free == 1, scene.frame, scene.room)
    blurred, weight = (
        cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for plane in (room * free, free)
    )
    outside = cv2.dilate((scene.alpha > 0).astype(np.uint8), np.ones((17, 17), np.uint8)) == 0
    error: NDArray[np.float32] = np.abs(drawn - blurred / np.maximum(weight, 1e-6)[..., None])[outside]
    return error


def measure(made: list[Scene], model: str) -> dict[str, Any]:
    """Returns the means over the scenes."""
    true, own, ways, blurs = [], [], [], []
    for scene in track(made, "drawing", console=Console(stderr=True)):
        true.append(colour_errors(scene))
        own.append(colour_errors(scene, own_alpha(scene, model)))
        ways.append(upsampling(scene))
        blurs.append(blur_errors(scene))
    whole = np.concatenate(blurs)
    return {
        "scenes": len(made),
        "colour_error_in_band_levels": {"true matte": _compared(true), f"matte of {model}": _compared(own)},
        "upsampling": {way: _scores([of[way] for of in ways]) for way in ("linear", "guided")},
        "blur_error_outside_band_levels": {
            "mean": round(float(whole.mean()), 3),
            "p99": round(float(np.percentile(whole, 99)), 3),
        },
    }


def _compared(errors: list[tuple[float, float]]) -> dict[str, float]:
    before, after = (float(value) for value in np.mean(errors, axis=0))
    return report.rounded({"as they are": before, "decontaminated": after, "less": 1 - after / before})


def _scores(found: list[tuple[float, float]]) -> dict[str, float]:
    mads, grads = np.mean(found, axis=0).tolist()
    return report.rounded({"mad": mads, "grad": grads})


def _tables(found: dict[str, Any]) -> Iterator[Table]:
    colours = Table("levels", "as they are", "decontaminated", "less", title="Colour error at the edge")
    for name, row in found["colour_error_in_band_levels"].items():
        colours.add_row(name, f"{row['as they are']:.1f}", f"{row['decontaminated']:.1f}", f"{row['less']:.0%}")
    yield colours
    sizes = Table("way", "MAD", "Grad", title="512x288 to 1280x720")
    for name, row in found["upsampling"].items():
        sizes.add_row(name, f"{row['mad']:.3f}", f"{row['grad']:.3f}")
    yield sizes
    blur = Table("levels", "mean", "p99", title="Blur against a blur of the room alone")
    blur.add_row("outside the edge", *(f"{value}" for value in found["blur_error_outside_band_levels"].values()))
    yield blur


def main(
    shared: Annotated[Path, typer.Option(help="Folder with traindata/.")],
    count: Annotated[int, typer.Option(min=1, help="Scenes.")] = 16,
    model: Annotated[str, typer.Option(help="Network whose own mattes are drawn, too.")] = "lite",
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Judges the drawing of edges and rooms."""
    found = measure(list(scenes(shared, count)), model)
    for table in _tables(found):
        Console().print(table)
    if json is not None:
        report.write_json(json, "benchmarks.picture", found)


if __name__ == "__main__":
    report.run(main)
