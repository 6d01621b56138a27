"""How the page looks and who can use it: screenshots under build/screens, and axe's word on each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.camera_clips import JUMPER
from tests.browser.conftest import Open
from tests.browser.studio_page import StudioPage, colour_at, is_orange

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SERIOUS = {"serious", "critical"}
Photograph = Callable[[StudioPage, str], None]


def serious_faults(studio: StudioPage) -> list[str]:
    """Returns what axe finds that keeps somebody from using the page."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    studio.page.evaluate(axe)  # as a debugger does: the page's own policy allows no foreign script
    found = studio.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:120]}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_page_in_every_state(
    name: str, device: dict[str, Any], scheme: str, one_person: Browser, open_tab: Open, photograph: Photograph
) -> None:
    studio = open_tab(one_person, color_scheme=scheme, **device).open()
    studio.page.wait_for_load_state("networkidle")
    faults: list[str] = []

    def look(state: str) -> None:
        studio.page.wait_for_timeout(400)  # transitions of colour end
        photograph(studio, f"{name}-{scheme}-{state}")
        faults.extend(f"{state}: {fault}" for fault in serious_faults(studio))
        wide = studio.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{state} is {wide} pixels wider than the window"

    look("welcome")
    studio.page.click("#help-open")
    look("help")
    studio.page.keyboard.press("Escape")
    studio.page.click("#empty-action")
    studio.await_state("Live")
    studio.until(lambda: is_orange(colour_at(studio.video(), *JUMPER)), "the person")
    look("live")
    studio.page.click("[data-view=split]")
    look("split")
    studio.page.click("#pick")
    studio.until(lambda: studio.page.is_visible("#picker"), "a frozen frame")
    studio.click_at(0.5, 0.7)
    look("choosing")
    studio.page.click("#picker-cancel")
    studio.page.click("#privacy")
    studio.await_state("Hidden")
    look("hidden")
    assert faults == []


def test_the_viewer_page(one_person: Browser, open_tab: Open, photograph: Photograph) -> None:
    viewer = open_tab(one_person).open("watch.html#over")
    viewer.until(lambda: viewer.page.text_content("#empty-title") == "It is over", "an end")

    photograph(viewer, "watch-over")

    assert serious_faults(viewer) == []


def test_every_control_is_reached_by_the_keyboard_and_named(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    reached = []

    for _ in range(80):
        studio.page.keyboard.press("Tab")
        reached.append(studio.page.evaluate("document.activeElement.id"))

    assert {"privacy", "share", "pick", "record", "blur", "edge_shift", "camera", "preset-name"} <= set(reached)
