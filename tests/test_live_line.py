"""The live line as one: what the control changes, what the status says, and that frames keep one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Background, BackgroundSpec
from rtmatte.compose.checkerboard import DARK, LIGHT
from rtmatte.compose.host import Compositor, Drawing
from rtmatte.compose.look import Look
from rtmatte.control import Control
from rtmatte.errors import InputError, SourceError
from rtmatte.frame import Frame, Mask, Matte, Phase
from rtmatte.imaging import save_png
from rtmatte.live import LiveLine, drawing
from rtmatte.pipeline import Counts
from rtmatte.settings import Settings
from rtmatte.sinks.memory import MemorySink
from rtmatte.sources import SourceState
from rtmatte.sources.synthetic import SyntheticSource

SIZE = (128, 72)
RATE = 30.0
LONG = 20.0

Hook = Callable[[int], object]


class Stage:
    """A line with a fake engine, and a source that gives its next frame when the one before was sent."""

    def __init__(
        self, settings: Settings = Settings(background="green"), mask: bool = True, drawing: Drawing | None = None
    ) -> None:
        self.clock = ManualClock()
        self.scene = SyntheticSource(self.clock, size=SIZE)
        self.control = Control(settings)
        first = Mask((self.scene.alpha_of(0) > 0.5).astype(np.float32)) if mask else None
        self.line = LiveLine(FakeEngine(*SIZE), self.control, self.clock, size=SIZE, first_mask=first, drawing=drawing)
        self.sink = MemorySink(keep=1000)
        self._sent = Event()

    def frames(self, count: int, before: Hook = lambda seq: None) -> Iterator[Frame]:
        for seq in range(count):
            before(seq)
            self._sent.clear()
            yield Frame(seq, self.scene.pixels_of(seq), self.clock.now())
            assert self._sent.wait(LONG)
            self.clock.advance(1 / RATE)

    def run(self, frames: Iterator[Frame]) -> Counts:
        return self.line.run(frames, self.sink, progress=lambda counts: self._sent.set())


def corner(frame: Frame) -> list[int]:
    """Returns the colour of a pixel that is never of the person."""
    return list(frame.pixels[-1, 0].tolist())


def test_frames_go_through_with_their_own_numbers() -> None:
    stage = Stage()

    counts = stage.run(stage.frames(10))

    assert counts == Counts(10, 10, {})
    assert [frame.seq for frame in stage.sink.frames] == list(range(10))
    assert stage.line.status.phase is Phase.TRACKING
    assert corner(stage.sink.frames[-1]) == [0, 255, 0]


def test_a_background_that_changes_is_behind_the_next_frame() -> None:
    stage = Stage()

    stage.run(stage.frames(10, lambda seq: seq == 6 and stage.control.change(background="#0000ff")))

    assert [corner(frame) for frame in stage.sink.frames][5:7] == [[0, 255, 0], [0, 0, 255]]


def test_a_background_that_cannot_be_opened_leaves_the_old_one_and_a_warning() -> None:
    stage = Stage()

    stage.run(stage.frames(10, lambda seq: seq == 6 and stage.control.change(background="nowhere.png")))

    assert corner(stage.sink.frames[-1]) == [0, 255, 0]
    assert any("nowhere.png" in sentence for sentence in stage.line.status.warnings)


def test_a_background_that_cannot_be_opened_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, tried = Stage(), list[str]()

    def opened(spec: BackgroundSpec, *rest: object, **named: object) -> Compositor:
        tried.append(spec.path.name)
        raise SourceError("expected a picture, found none in waves.png")

    def change(seq: int) -> None:
        if seq == 3:
            monkeypatch.setattr(drawing, "open_compositor", opened)
            monkeypatch.setattr(
                drawing, "live_background", lambda text: BackgroundSpec("image", path=Path("waves.png"))
            )
            stage.control.change(background="waves.png")

    stage.run(stage.frames(12, before=change))

    assert tried == ["waves.png"]


def test_a_background_whose_file_has_gone_can_still_be_changed(tmp_path: Path) -> None:
    waves = tmp_path / "waves.png"
    save_png(waves, np.full((9, 16, 3), 200, np.uint8))
    stage = Stage(Settings(background=str(waves)))

    def change(seq: int) -> None:
        if seq == 6:
            waves.unlink()
            stage.control.change(background="green")

    stage.run(stage.frames(12, before=change))

    assert corner(stage.sink.frames[0]) == [200, 200, 200]
    assert corner(stage.sink.frames[-1]) == [0, 255, 0]


@pytest.mark.parametrize(
    ("old", "new"),
    [("green", "side-by-side"), ("blur", "transparent"), ("transparent", "blur"), ("side-by-side", "green")],
)
def test_what_goes_out_keeps_its_size_and_transparency(old: str, new: str) -> None:
    stage = Stage(Settings(background=old))

    stage.run(stage.frames(12, before=lambda seq: stage.control.change(background=new) if seq == 6 else None))

    assert len({frame.pixels.shape for frame in stage.sink.frames}) == 1
    assert f"start again with --background {new}" in stage.line.status.warnings[0]


class Flat:
    """A drawing that draws one colour, until frame `gives_up`."""

    def __init__(self, gives_up: int = 1000) -> None:
        self.fault = ""
        self._gives_up = gives_up

    def draw(self, matte: Matte, background: Background, look: Look, out: NDArray[np.uint8], *, at: float) -> bool:
        if matte.frame.seq >= self._gives_up:
            self.fault = "the card is gone"
            return False
        out[:] = 77
        return True


def test_composites_are_drawn_where_they_can_be_and_whose_failure_is_told() -> None:
    stage = Stage(drawing=Flat(gives_up=6))

    stage.run(stage.frames(8, lambda seq: stage.control.change(background="#0000ff") if seq == 5 else None))

    corners = [corner(frame) for frame in stage.sink.frames]
    assert corners[3:] == [[77, 77, 77]] * 3 + [[0, 0, 255]] * 2
    assert stage.line.status.warnings == ("the card is gone",)


def test_the_slate_is_shown_whoever_draws() -> None:
    stage = Stage(Settings(background="green", privacy=True), drawing=Flat())

    stage.run(stage.frames(5))

    assert [corner(frame) for frame in stage.sink.frames] == [[0, 255, 0]] * 5


def test_a_line_does_not_begin_with_a_background_that_shows_the_room() -> None:
    with pytest.raises(InputError, match="hides the room"):
        Stage(Settings(background="none"))


def test_the_slate_shows_nobody_at_once_and_the_picture_returns() -> None:
    stage = Stage()
    hide = {6: True, 8: False}

    stage.run(stage.frames(10, lambda seq: seq in hide and stage.control.change(privacy=hide[seq])))

    people = [bool((frame.pixels != (0, 255, 0)).any()) for frame in stage.sink.frames]
    assert people[5:] == [True, False, False, True, True]


def test_a_frozen_output_stands_still_and_keeps_its_rate() -> None:
    stage = Stage()
    freeze = {6: True, 8: False}

    stage.run(stage.frames(12, lambda seq: seq in freeze and stage.control.change(frozen=freeze[seq])))

    pictures = [frame.pixels for frame in stage.sink.frames]
    assert [frame.seq for frame in stage.sink.frames] == list(range(12))
    assert (pictures[6] == pictures[7]).all()
    assert not (pictures[7] == pictures[8]).all()


def test_a_blank_frame_is_hidden_and_says_so() -> None:
    stage = Stage()

    def frames() -> Iterator[Frame]:
        for frame in stage.frames(10):
            yield frame if frame.seq < 8 else Frame(frame.seq, frame.pixels, frame.captured_at, blank=True)

    stage.run(frames())

    assert stage.line.status.phase is Phase.LOST
    assert (stage.sink.frames[7].pixels == stage.sink.frames[8].pixels).all()


def test_another_shape_of_the_camera_keeps_the_size_of_the_output() -> None:
    stage = Stage()

    def frames() -> Iterator[Frame]:
        for frame in stage.frames(10):
            yield frame if frame.seq < 6 else Frame(frame.seq, frame.pixels[:, :40].copy(), frame.captured_at)

    stage.run(frames())

    assert {frame.size for frame in stage.sink.frames} == {SIZE}
    assert stage.line.status.phase is Phase.LOST  # until somebody says who it is now


def test_after_a_run_a_line_knows_who_was_followed_for_pictures_of_any_size() -> None:
    stage = Stage()
    nobody = stage.line.followed(SIZE)

    stage.run(stage.frames(10))

    mask, truth = stage.line.followed((SIZE[0] * 2, SIZE[1] * 2)), stage.scene.alpha_of(9)
    assert nobody is None
    assert mask is not None
    assert mask.size == (256, 144)
    assert np.abs(mask.values[::2, ::2] - truth).mean() < 0.03


def test_a_view_is_copied_while_somebody_asks_for_it() -> None:
    stage = Stage()
    asked = []

    stage.run(stage.frames(6, lambda seq: asked.append(stage.line.picture("matte"))))

    assert asked[0] is None
    assert asked[-1] is not None
    assert asked[-1].shape == (SIZE[1], SIZE[0], 1)


def test_the_cut_out_stands_on_squares_whatever_the_background() -> None:
    stage = Stage()
    asked = []

    stage.run(stage.frames(6, lambda seq: asked.append(stage.line.picture("checkerboard"))))

    assert asked[-1] is not None
    assert {asked[-1][-1, x].tolist()[0] for x in range(0, 64, 16)} == {LIGHT, DARK}


def test_the_status_is_fit_for_json_and_names_the_delay() -> None:
    stage = Stage()

    stage.run(stage.frames(6))

    status = stage.line.status
    assert status.latency is not None
    assert set(status.stages) == {"received", "network", "composited", "sent", "waiting"}
    assert status.source is SourceState.LIVE
    assert status.to_dict()["counts"] == {"received": 6, "sent": 6, "dropped": {}}
