"""The control API over a line that shows one picture, with folders of its own: what its tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rtmatte.api import Api, Request, Response
from rtmatte.control import Command, Control
from rtmatte.frame import Phase, Pixels
from rtmatte.live import View
from rtmatte.settings import Settings, SettingsFolder

PICTURE = np.full((6, 8, 3), (10, 200, 30), np.uint8)


@dataclass(frozen=True)
class FakeStatus:
    phase: Phase = Phase.TRACKING
    dropped: dict[str, int] = field(default_factory=lambda: {"network busy": 2})
    latency: float = float("nan")


class FakeLine:
    """Shows one picture in every view."""

    def __init__(self, pixels: Pixels | None = PICTURE) -> None:
        self.pixels = pixels

    @property
    def status(self) -> FakeStatus:
        return FakeStatus()

    def picture(self, view: View) -> Pixels | None:
        return self.pixels


class Bench:
    """An API over a fake line, with folders of its own."""

    def __init__(self, folder: Path, line: FakeLine | None = None, settings: Settings = Settings()) -> None:
        self.control = Control(settings)
        self.uploads = folder / "uploads"
        self.api = Api(line or FakeLine(), self.control, uploads=self.uploads, kept=SettingsFolder(folder / "kept"))

    def send(self, method: str, path: str, body: object = b"", content_type: str = "", **query: str) -> Response:
        if not isinstance(body, bytes):
            body, content_type = json.dumps(body).encode(), content_type or "application/json; charset=utf-8"
        return self.api.answer(Request(method, path, query, content_type, body))

    def commands(self) -> list[Command]:
        return self.control.commands()


def new_bench(tmp_path: Path) -> Bench:
    """Returns a bench with nothing changed yet: a fixture."""
    return Bench(tmp_path)


def values(response: Response) -> Any:
    return json.loads(response.body)


def encoded(suffix: str, pixels: np.ndarray[Any, Any] = PICTURE) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()
