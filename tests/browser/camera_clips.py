"""What the browser's fake camera shows, made from the bundled clip alone: a numbered person, and two people.

Every frame carries its number in a strip of black and white blocks along its top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import rtmatte
from rtmatte.clock import ManualClock
from rtmatte.engine import open_engine
from rtmatte.session import Session
from rtmatte.sources import open_source
from rtmatte.targets.person import PersonTarget

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

CLIP = Path(rtmatte.__file__).parent / "assets" / "walk.mkv"
SIZE = (640, 480)
FRAMES = 80
BLOCKS, BITS, STRIP = 16, 10, 24  # blocks in the strip, those that hold the number, its height
ORANGE_AT, BLUE_AT = 0.27, 0.73  # of the width: where the two people stand
SMALLER = 0.82
JUMPER = (0.48, 0.8)  # where the person of the clip is orange
WALL = (0.12, 0.12)  # where nobody ever is, below the strip of numbers


def write_one_person(path: Path) -> None:
    """Writes the bundled clip, numbered, as Y4M."""
    with open_source(str(CLIP), ManualClock()) as source:
        _write(path, (_numbered(frame.pixels.astype(np.uint8), frame.seq) for frame in islice(source, FRAMES)))


def write_two_people(path: Path) -> None:
    """Writes the person of the bundled clip twice before a wall, in orange on the left, mirrored and in blue on the
    right."""
    _write(path, (_numbered(picture, number) for number, picture in enumerate(_two_people())))


def number_of(picture: Picture) -> int | None:
    """Returns the number that a picture carries, None where the strip cannot be read."""
    height, width = picture.shape[:2]
    middles = ((np.arange(BLOCKS) + 0.5) * width / BLOCKS).astype(int)
    bits = [int(picture[height * STRIP // SIZE[1] // 2, x].mean() > 128) for x in middles]
    number, rest = bits[1 : 1 + BITS], bits[1 + BITS :]
    if bits[0] != 1 or rest != [sum(number) % 2, 0, 1, 0, 1]:
        return None
    return sum(bit << place for place, bit in enumerate(number))


def _numbered(picture: Picture, number: int) -> Picture:
    bits = [number >> place & 1 for place in range(BITS)]
    blocks = np.array([1, *bits, sum(bits) % 2, 0, 1, 0, 1], np.uint8) * 255
    out = picture.copy()
    out[:STRIP] = np.repeat(blocks, picture.shape[1] // BLOCKS)[None, :, None]
    return out


def _two_people() -> Iterator[Picture]:
    wall = np.linspace(205, 165, SIZE[1])[:, None, None] * np.array([1.0, 0.98, 0.94])
    for person, alpha in _cut_out():
        scene = np.broadcast_to(wall, (SIZE[1], SIZE[0], 3)).copy()
        _stand(scene, person, alpha, at=ORANGE_AT)
        _stand(scene, person[:, ::-1, ::-1], alpha[:, ::-1], at=BLUE_AT)  # mirrored, red and blue exchanged
        yield scene.astype(np.uint8)


def _cut_out() -> Iterator[tuple[Picture, NDArray[np.float32]]]:
    """Yields frames of the bundled clip, and their alphas by lite."""
    clock = ManualClock()
    with open_source(str(CLIP), clock) as source:
        engine = open_engine("lite", size=source.size)
        session = Session(engine, PersonTarget(engine), clock)
        for frame in islice(source, FRAMES):
            alpha = session.process(frame).alpha
            clock.advance(1 / 30)
            if alpha is not None:
                yield frame.pixels.astype(np.uint8), cv2.resize(np.squeeze(alpha), SIZE).astype(np.float32)


def _stand(scene: NDArray[np.float64], person: Picture, alpha: NDArray[np.float32], *, at: float) -> None:
    """Puts the middle part of a cut-out into the scene: smaller, its middle at `at`, on the lower edge."""
    width, height = int(SIZE[0] * SMALLER), int(SIZE[1] * SMALLER)
    small, cover = cv2.resize(person, (width, height)), cv2.resize(alpha, (width, height))[..., None]
    half = SIZE[0] // 4 - 8
    middle, centre = width // 2, int(at * SIZE[0])
    part = np.s_[:, middle - half : middle + half]
    place = scene[SIZE[1] - height :, centre - half : centre + half]
    place[...] = cover[part] * small[part] + (1 - cover[part]) * place


def _write(path: Path, pictures: Iterable[Picture]) -> None:
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIZE[0]} H{SIZE[1]} F30:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            file.write(b"FRAME\n")
            file.write(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
