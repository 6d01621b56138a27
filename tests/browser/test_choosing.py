"""Who is cut out, by a click on one of two people."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.camera_clips import BLUE_AT, ORANGE_AT
from tests.browser.conftest import Open
from tests.browser.studio_page import StudioPage, colour_at, is_blue, is_green, is_orange

CHEST = 0.72  # of the height


def only_blue(studio: StudioPage) -> bool:
    picture = studio.video()
    return is_blue(colour_at(picture, BLUE_AT - 0.05, CHEST)) and is_green(colour_at(picture, ORANGE_AT + 0.05, CHEST))


def only_orange(studio: StudioPage) -> bool:
    picture = studio.video()
    return is_orange(colour_at(picture, ORANGE_AT + 0.05, CHEST)) and is_green(
        colour_at(picture, BLUE_AT - 0.05, CHEST)
    )


def test_a_click_chooses_one_of_two_people_and_undo_brings_the_other_back(two_people: Browser, open_tab: Open) -> None:
    studio = open_tab(two_people)
    studio.open()
    studio.page.click("#empty-action")
    studio.until(studio.page.locator("#pick").is_enabled, "the connection")
    studio.page.click("[data-background=green]")

    choose(studio, ORANGE_AT)
    studio.until(lambda: only_orange(studio), "the one in orange, alone")

    choose(studio, BLUE_AT)
    studio.until(lambda: only_blue(studio), "the one in blue, alone")

    studio.page.keyboard.press("u")
    studio.until(lambda: only_orange(studio), "the one in orange again")


def test_a_box_and_the_keyboard_choose_as_well(two_people: Browser, open_tab: Open) -> None:
    studio = open_tab(two_people)
    studio.open()
    studio.page.click("#empty-action")
    studio.until(studio.page.locator("#pick").is_enabled, "the connection")
    studio.page.click("[data-background=green]")

    freeze(studio)
    area = studio.page.locator("#picker-frame").bounding_box()
    assert area is not None
    studio.page.mouse.move(area["x"] + 0.55 * area["width"], area["y"] + 0.28 * area["height"])
    studio.page.mouse.down()
    studio.page.mouse.move(area["x"] + 0.92 * area["width"], area["y"] + 0.98 * area["height"], steps=4)
    studio.page.mouse.up()
    studio.page.click("#picker-done")
    studio.until(lambda: only_blue(studio), "the one in the box, alone")

    freeze(studio)
    for key in ["ArrowLeft"] * 11 + ["ArrowDown"] * 14:  # from the middle to the chest of the one on the left
        studio.page.keyboard.press(key)
    studio.page.keyboard.press(" ")
    studio.page.keyboard.press("Enter")
    studio.until(lambda: only_orange(studio), "the one under the cross, alone")


def choose(studio: StudioPage, x: float) -> None:
    freeze(studio)
    studio.click_at(x, CHEST)
    studio.page.click("#picker-done")


def freeze(studio: StudioPage) -> None:
    """Stops the picture; it takes as long as the server takes to have one."""

    def pressed() -> bool:
        studio.page.keyboard.press("c")
        studio.page.wait_for_timeout(500)
        return studio.page.is_visible("#picker")

    studio.until(pressed, "a frozen frame")
