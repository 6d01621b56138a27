"""Streams from elsewhere: opened and steered by who may, watched by a link and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

from tests.browser.camera_clips import JUMPER, WALL
from tests.browser.conftest import TOKEN, Open
from tests.browser.studio_page import StudioPage, colour_at, is_green, is_orange
from tests.browser.test_looks import DESKTOP, PHONE, serious_faults
from tests.browser.test_studio import watch_link

Photograph = Callable[[StudioPage, str], None]


@pytest.mark.parametrize(("name", "device", "scheme"), [("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")])
def test_a_stream_from_elsewhere_is_opened_and_steered(
    name: str, device: dict[str, object], scheme: str, one_person: Browser, open_tab: Open, photograph: Photograph
) -> None:
    sender = open_tab(one_person).start()
    desk = open_tab(one_person, color_scheme=scheme, **device).open()
    desk.page.wait_for_selector("#on-air:not([hidden])")
    photograph(desk, f"{name}-{scheme}-on-air")
    wide = desk.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    desk.page.click("#on-air")
    desk.page.wait_for_selector(".stream.seen")
    desk.page.wait_for_timeout(400)
    photograph(desk, f"{name}-{scheme}-streams")
    assert serious_faults(desk) == []

    desk.page.click(".stream button")
    desk.await_state("Live from another browser")
    desk.page.click("[data-background=green]")

    sender.until(lambda: is_green(colour_at(sender.video(), *WALL)), "the wall to be green at the sender's")
    desk.page.reload()
    desk.await_state("Live from another browser")
    desk.page.click("#leave")
    desk.await_state("Not connected")
    sender.until(lambda: is_orange(colour_at(sender.video(), *JUMPER)), "the sender to go on")
    assert sender.page.text_content("#state") == "Live"


def test_a_stream_that_ends_says_so_to_who_steers_it(one_person: Browser, open_tab: Open) -> None:
    sender, desk = open_tab(one_person).start(), open_tab(one_person)
    desk.open(f"#session={sender.session}").await_state("Live from another browser")
    assert sender.session not in desk.page.url

    sender.page.click("#leave")

    desk.until(lambda: desk.page.text_content("#empty-title") == "That stream is over", "an end")
    assert desk.page.text_content("#empty-action") == "Start camera"


def test_a_link_lets_somebody_watch_without_the_token_and_do_nothing_else(
    one_person: Browser, open_tab: Open, locked: str
) -> None:
    studio = open_tab(one_person, server=locked).open(f"#key={TOKEN}")
    studio.page.click("#empty-action")
    studio.await_state("Live")
    link = watch_link(studio)

    viewer = open_tab(one_person, server=locked).open(link).await_state("Live")

    viewer.until(lambda: is_orange(colour_at(viewer.video("#video"), *JUMPER)), "the person at the viewer's")
    asked = ("api/sessions", "api/server", f"api/sessions/{studio.session}/frame.jpg?view=original")
    assert [viewer.page.request.get(locked + path).status for path in asked] == [401, 401, 401]
    studio.page.click("#leave")
    viewer.until(lambda: viewer.page.text_content("#empty-title") == "It is over", "an end")


def test_a_recording_on_the_server_begins_and_ends_by_a_button(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()

    studio.page.click("#record-server")
    studio.page.wait_for_selector("#badge-server:not([hidden])")
    name = studio.page.request.get(f"{studio.address}api/sessions/{studio.session}").json()["recording"]
    studio.page.wait_for_timeout(1000)
    studio.page.click("#record-server")

    studio.page.wait_for_selector(f".notice:has-text('{name}')")
    assert not studio.page.is_visible("#badge-server")
