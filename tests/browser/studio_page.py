"""The page of `rtmatte serve` in the hands of a test: what a user does, and what they would see."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Colour = NDArray[np.float64]  # red, green, blue

SCREENS = Path("build/screens")
PATIENCE = 90.0  # seconds: on a busy machine the network does two frames a second
LOOK = 0.2

GRAB = """video => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


class StudioPage:
    """One tab of the studio, or of the viewer's page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path: str = "") -> StudioPage:
        self.page.goto(self.address + path)
        return self

    def start(self) -> StudioPage:
        """Starts the camera and returns when somebody is cut out."""
        self.open()
        self.page.click("#empty-action")
        return self.await_state("Live")

    def await_state(self, text: str) -> StudioPage:
        """Returns when the pill beside the name says `text`."""
        self.until(lambda: self.page.text_content("#state") == text, f"the page to say {text!r}")
        return self

    def until(self, fact: Callable[[], bool], what: str) -> None:
        """Returns once `fact` holds; fails, with a picture of the page, if that takes too long."""
        end = time.monotonic() + PATIENCE
        while not fact():
            if time.monotonic() > end:
                SCREENS.mkdir(parents=True, exist_ok=True)
                self.page.screenshot(path=SCREENS / "failed.png")
                raise AssertionError(f"expected {what}; the page says {self.page.text_content('#state')!r}")
            self.page.wait_for_timeout(LOOK * 1000)

    @property
    def session(self) -> str:
        """The id of this tab's session."""
        kept = self.page.evaluate("sessionStorage.getItem('rtmatte.session')")
        return str(json.loads(kept)) if kept else ""

    def api(self, path: str) -> Any:
        """Returns what a GET of the session's control API gives, as JSON."""
        return self.page.request.get(f"{self.address}api/sessions/{self.session}/{path}").json()

    def still(self, view: str) -> Picture:
        """Returns a picture of `view` as the server gives it."""
        found: list[bytes] = []

        def ask() -> bool:
            answer = self.page.request.get(f"{self.address}api/sessions/{self.session}/frame.jpg?view={view}")
            if answer.ok:
                found.append(answer.body())
            return answer.ok

        self.until(ask, f"a picture of {view}")
        return _decoded(found[0])

    def video(self, selector: str = "#remote") -> Picture:
        """Returns what a video element shows now, or will show first."""
        element = self.page.locator(selector)
        self.until(lambda: bool(element.evaluate("video => video.videoWidth")), "a picture")
        return _decoded(base64.b64decode(element.evaluate(GRAB)))

    def shown(self) -> Picture:
        """Returns the stage as it is on the screen."""
        return _decoded(self.page.locator("#stage").screenshot())

    def set_slider(self, id: str, value: float) -> None:
        """Moves a slider as a hand would: its value, then its event."""
        self.page.locator(f"#{id}").evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", str(value)
        )

    def click_at(self, x: float, y: float) -> None:
        """Clicks on the frozen frame, at 0..1 of it."""
        area = self.page.locator("#picker-frame").bounding_box()
        assert area is not None
        self.page.mouse.click(area["x"] + x * area["width"], area["y"] + y * area["height"])

    def end(self) -> None:
        """Ends this tab's session, so that the server has room for the next."""
        if session := self.session:
            self.page.request.delete(f"{self.address}api/sessions/{session}")


def colour_at(picture: Picture, x: float, y: float) -> Colour:
    """Returns the mean colour of a small square at 0..1 of a picture."""
    height, width = picture.shape[:2]
    column, row = int(x * width), int(y * height)
    square = picture[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5]
    return np.asarray(square.reshape(-1, 3).mean(0), np.float64)


def is_orange(colour: Colour) -> bool:
    return bool(colour[0] > colour[2] + 60 and colour[0] > colour[1] + 15)


def is_blue(colour: Colour) -> bool:
    return bool(colour[2] > colour[0] + 60 and colour[2] > colour[1] + 15)


def is_green(colour: Colour) -> bool:
    return bool(colour[1] > colour[0] + 60 and colour[1] > colour[2] + 40)


def is_red(colour: Colour) -> bool:
    return bool(colour[0] > colour[1] + 100 and colour[0] > colour[2] + 100)


def _decoded(data: bytes) -> Picture:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)
