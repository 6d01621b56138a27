"""What a path given by the user opens, and what is refused before a single frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.sinks import open_sink, rgb_of
from rtmatte.sinks.folder import FolderSink
from rtmatte.sinks.memory import MemorySink
from rtmatte.sinks.video import VideoSink

SIZE = (8, 6)


def test_a_name_without_suffix_is_a_folder_and_others_are_videos(tmp_path: Path) -> None:
    kinds = {name: type(open_sink(tmp_path / name, size=SIZE, fps=30)) for name in ("out", "a.mp4", "b.MKV", "c.mov")}

    assert kinds == {"out": FolderSink, "a.mp4": VideoSink, "b.MKV": VideoSink, "c.mov": VideoSink}


def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"\.mp4, \.mkv.*clip\.wmv"):
        open_sink(tmp_path / "clip.wmv", size=SIZE, fps=30)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    for name in ("long" * 100, "long" * 100 + ".mp4"):
        with pytest.raises(SinkError, match="cannot write"):
            open_sink(tmp_path / name, size=SIZE, fps=30)


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    clip, folder = tmp_path / "clip.mp4", tmp_path / "pictures"
    clip.write_bytes(b"precious")
    folder.mkdir()
    (tmp_path / "link.mp4").symlink_to(clip)

    for path in (clip, tmp_path / "link.mp4"):
        with pytest.raises(SinkError, match="other than the input"):
            open_sink(path, size=SIZE, fps=30, inputs=[clip])
    with pytest.raises(SinkError, match="other than the input"):
        open_sink(clip, size=SIZE, fps=30, audio_from=clip)
    with pytest.raises(SinkError, match="other than the input"):
        open_sink(folder, size=SIZE, fps=30, inputs=[clip, folder])
    assert clip.read_bytes() == b"precious"


def test_grey_is_shown_as_grey_and_transparency_not_at_all() -> None:
    grey = Frame(0, np.full((2, 3, 1), 7, np.uint8), 0.0)
    clear = Frame(0, np.zeros((2, 3, 4), np.uint8), 0.0)

    assert rgb_of(grey).tolist() == np.full((2, 3, 3), 7).tolist()
    with pytest.raises(SinkError, match="choose a background"):
        rgb_of(clear)


def test_memory_keeps_copies_of_the_last_frames_only() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)

    with MemorySink(keep=2) as sink:
        for seq in range(4):
            pixels[:] = seq
            sink.write(Frame(seq, pixels, float(seq), None))
        pixels[:] = 99

    assert sink.count == 4
    assert [(frame.seq, frame.captured_at, frame.pixels.max()) for frame in sink.frames] == [(2, 2.0, 2), (3, 3.0, 3)]
