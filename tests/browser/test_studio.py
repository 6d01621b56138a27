"""The studio against a real server: what is published comes back cut out, and what a user does is seen by pixel."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from playwright.sync_api import Browser

from rtmatte.compose.checkerboard import DARK, LIGHT
from tests.browser.camera_clips import JUMPER, WALL, number_of
from tests.browser.conftest import Open
from tests.browser.studio_page import StudioPage, colour_at, is_blue, is_green, is_orange, is_red

DROP = """async () => {  // a blue picture, dropped on the page
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#1030e0";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const picture = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([picture], "blue.png", {type: "image/png"}));
  document.body.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer}));
}"""


def choose_background(studio: StudioPage, name: str) -> None:
    studio.page.click(f"[data-background={name}]")


def test_the_camera_comes_back_cut_out_and_keeps_its_order(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    choose_background(studio, "green")

    studio.until(lambda: is_green(colour_at(studio.video(), *WALL)), "the wall to be green")

    assert is_orange(colour_at(studio.video(), *JUMPER))
    numbers = []
    for _ in range(8):
        numbers.append(number_of(studio.still("original")))
        studio.page.wait_for_timeout(150)
    assert None not in numbers
    assert len(set(numbers)) > 2, "the picture stands still"


def test_each_view_shows_what_it_says(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    choose_background(studio, "green")
    room = studio.still("original")
    studio.until(lambda: is_green(colour_at(studio.shown(), *WALL)), "the composite")

    studio.page.click("[data-view=matte]")
    studio.until(lambda: colour_at(studio.shown(), *JUMPER).min() > 240, "a white person in the matte")
    assert colour_at(studio.shown(), *WALL).max() < 12

    studio.page.click("[data-view=checkerboard]")
    studio.until(lambda: is_orange(colour_at(studio.shown(), *JUMPER)), "the person in the cut-out")
    squares = studio.still("checkerboard")[60:64, :160].astype(int)
    assert abs(squares.max() - LIGHT) < 12
    assert abs(squares.min() - DARK) < 12

    studio.page.click("[data-view=original]")
    studio.until(
        lambda: bool(np.abs(colour_at(studio.shown(), 0.3, 0.3) - colour_at(room, 0.3, 0.3)).max() < 25), "room"
    )

    studio.page.click("[data-view=split]")
    studio.until(lambda: is_green(colour_at(studio.shown(), 0.95, 0.2)), "the composite on the right")
    assert not is_green(colour_at(studio.shown(), 0.25, 0.2))


def test_a_background_is_a_swatch_a_colour_or_a_file(one_person: Browser, open_tab: Open, tmp_path: Path) -> None:
    studio = open_tab(one_person).start()

    choose_background(studio, "colour")
    studio.page.fill("#colour", "#1030e0")
    studio.until(lambda: is_blue(colour_at(studio.video(), *WALL)), "a blue wall")

    picture = tmp_path / "red.png"
    cv2.imwrite(str(picture), np.full((72, 128, 3), (20, 20, 230), np.uint8))
    studio.page.set_input_files("#background-file", picture)
    studio.until(lambda: is_red(colour_at(studio.video(), *WALL)), "a red wall")

    studio.page.evaluate(DROP)
    studio.until(lambda: is_blue(colour_at(studio.video(), *WALL)), "the wall of the picture that was dropped")

    choose_background(studio, "night")
    studio.until(lambda: colour_at(studio.video(), 0.9, 0.8).max() < 60, "the night")
    assert studio.page.get_attribute("[data-background=night]", "aria-pressed") == "true"


def test_a_preset_brings_its_settings_back(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    studio.set_slider("steadiness", 0.5)
    studio.page.fill("#preset-name", "Calm")
    studio.until(lambda: studio.api("settings")["steadiness"] == 0.5, "the slider's value")
    studio.page.press("#preset-name", "Enter")
    studio.page.wait_for_selector("#presets button")
    studio.set_slider("steadiness", 0)
    studio.until(lambda: studio.api("settings")["steadiness"] == 0, "the slider's other value")

    studio.page.click("#presets button")

    studio.until(lambda: studio.page.input_value("#steadiness") == "0.5", "the preset's value")


def test_mirroring_is_for_the_own_eyes_only(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    studio.page.click("[data-view=original]")
    assert colour_at(studio.shown(), 0.82, 0.3)[2] > colour_at(studio.shown(), 0.82, 0.3)[0] + 30  # a blue screen

    studio.page.keyboard.press("m")

    studio.until(lambda: studio.api("settings")["mirror"], "the setting")
    studio.until(
        lambda: bool(colour_at(studio.shown(), 0.18, 0.3)[2] > colour_at(studio.shown(), 0.18, 0.3)[0] + 30), ""
    )
    there = colour_at(studio.still("original"), 0.82, 0.3)
    assert there[2] > there[0] + 30


def test_a_reload_goes_on_with_the_session_and_its_settings(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    choose_background(studio, "green")
    studio.set_slider("edge_softness", 3)
    studio.until(lambda: studio.api("settings")["edge_softness"] == 3, "the slider's value")
    before = studio.session

    studio.page.reload()
    studio.await_state("Live")

    assert studio.session == before
    assert studio.page.input_value("#edge_softness") == "3"
    studio.until(lambda: is_green(colour_at(studio.video(), *WALL)), "the same background")
    studio.until(lambda: is_orange(colour_at(studio.video(), *JUMPER)), "the person")


def test_the_settings_of_the_last_time_come_to_a_new_session(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    choose_background(studio, "green")
    studio.until(lambda: studio.api("settings")["background"] == "green", "the background")
    before = studio.session
    studio.page.click("#leave")
    studio.await_state("Not connected")

    studio.page.click("#empty-action")
    studio.await_state("Live")

    assert studio.session != before
    studio.until(lambda: studio.api("settings")["background"] == "green", "the background of the last time")


def test_privacy_hides_the_person_from_everyone(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person).start()
    choose_background(studio, "green")
    viewer = open_tab(one_person).open(watch_link(studio))
    viewer.await_state("Live")
    viewer.until(lambda: is_orange(colour_at(viewer.video("#video"), *JUMPER)), "the person at the viewer's")

    studio.page.keyboard.press("p")
    studio.await_state("Hidden")

    viewer.until(lambda: is_green(colour_at(viewer.video("#video"), *JUMPER)), "nobody at the viewer's")
    studio.until(lambda: is_green(colour_at(studio.still("composite"), *JUMPER)), "nobody at the server")
    assert studio.page.is_visible("#slate")

    studio.page.click("#privacy")
    viewer.until(lambda: is_orange(colour_at(viewer.video("#video"), *JUMPER)), "the person again")


def watch_link(studio: StudioPage) -> str:
    """Returns the path behind the link that the studio gives to share."""
    studio.page.click("#share")
    studio.page.wait_for_selector("#share-dialog[open]")
    link = studio.page.input_value("#share-link")
    studio.page.keyboard.press("Escape")
    return link.removeprefix(studio.address)


def test_two_tabs_stay_in_step(one_person: Browser, open_tab: Open) -> None:
    first = open_tab(one_person).start()
    second = open_tab(beside=first).open().await_state("Live from another tab")

    second.set_slider("light_wrap", 0.5)
    first.until(lambda: first.page.input_value("#light_wrap") == "0.5", "the slider in the first tab")

    first.page.bring_to_front()
    first.page.keyboard.press("p")
    second.await_state("Hidden")
    second.page.click("#privacy")
    first.await_state("Live")
    second.page.close()
    first.until(lambda: first.page.text_content("#state") == "Live", "the first tab to go on alone")


def test_a_recording_is_a_video_to_be_saved(one_person: Browser, open_tab: Open, tmp_path: Path) -> None:
    studio = open_tab(one_person).start()

    studio.page.click("#record")
    studio.page.wait_for_timeout(4000)
    studio.page.click("#record")
    with studio.page.expect_download() as saved:
        studio.page.click(".notice a[download]")

    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    with av.open(str(path)) as video:
        sizes = {(frame.width, frame.height) for frame in video.decode(video=0)}
    assert sizes == {(640, 480)}


def test_a_camera_that_is_refused_is_explained(no_consent: Browser, open_tab: Open) -> None:
    studio = open_tab(no_consent).open()

    studio.page.click("#empty-action")

    studio.until(lambda: studio.page.text_content("#empty-title") == "The camera is blocked", "an explanation")
    assert studio.page.is_visible("#empty-action")


def test_a_lost_server_is_explained_and_found_again(one_person: Browser, open_tab: Open) -> None:
    studio = open_tab(one_person)
    studio.open()
    studio.page.route("**/api/server", lambda route: route.abort())

    studio.page.click("#empty-action")
    studio.until(lambda: studio.page.text_content("#empty-title") == "The server is not there", "an explanation")

    studio.page.unroute("**/api/server")
    studio.await_state("Live")


def test_a_link_to_what_is_over_says_so(one_person: Browser, open_tab: Open) -> None:
    viewer = open_tab(one_person).open("watch.html#long-over")

    viewer.until(lambda: viewer.page.text_content("#empty-title") == "It is over", "an end")


def test_the_plain_viewer_page_waits_for_the_only_stream(one_person: Browser, open_tab: Open) -> None:
    viewer = open_tab(one_person).open("watch.html").await_state("Waiting for a stream")

    open_tab(one_person).start()

    viewer.await_state("Live")
