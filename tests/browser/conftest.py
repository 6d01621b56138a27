"""A real server with lite, and Chromium with a made camera. Without Chromium the tests fail, they do not skip."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from tests.browser.camera_clips import write_one_person, write_two_people
from tests.browser.studio_page import SCREENS, StudioPage

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--use-fake-device-for-media-stream",
]
TOKEN = "browser-tests-browser-tests-0123"
CONSENT = "--use-fake-ui-for-media-stream"

Open = Callable[..., StudioPage]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser: RTMATTE_CHROMIUM, or the one that the system has."""
    named = os.environ.get("RTMATTE_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "expected Chromium, found none: apt-get install chromium, or name one in RTMATTE_CHROMIUM"
    return found


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own, with a folder of its own for presets."""
    yield from _served(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that asks for TOKEN."""
    yield from _served(tmp_path_factory.mktemp("locked"), "--token", TOKEN)


def _served(folder: Path, *more: str) -> Iterator[str]:
    command = [sys.executable, "-m", "rtmatte", "serve", "--port", "0", "--loopback", "--publishers", "2", *more]
    command += ["--recordings", str(folder / "recordings")]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    with (
        (folder / "server.log").open("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as server,
    ):
        assert server.stdout is not None
        line = server.stdout.readline()  # ends with the process, too
        assert line.startswith("open http://"), (folder / "server.log").read_text()
        yield line.split()[1].partition("#")[0]
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
        log.seek(0)
        said = log.read()
        assert "Traceback" not in said, said
        assert TOKEN not in said


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def one_person(playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows one person."""
    clip = tmp_path_factory.mktemp("clips") / "one.y4m"
    write_one_person(clip)
    yield from _launched(playwright, chromium, CONSENT, f"--use-file-for-fake-video-capture={clip}")


@pytest.fixture(scope="session")
def two_people(playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows two people, in orange and in blue."""
    clip = tmp_path_factory.mktemp("clips") / "two.y4m"
    write_two_people(clip)
    yield from _launched(playwright, chromium, CONSENT, f"--use-file-for-fake-video-capture={clip}")


@pytest.fixture(scope="session")
def no_consent(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """A browser whose user says no to the camera."""
    yield from _launched(playwright, chromium)


def _launched(playwright: Playwright, chromium: str, *flags: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
    yield browser
    browser.close()


@pytest.fixture
def open_tab(address: str) -> Iterator[Open]:
    """Opens tabs; at the end their sessions are over, and no script of theirs has failed."""
    with ExitStack() as stack:

        def tab(
            browser: Browser | None = None,
            *,
            beside: StudioPage | None = None,
            server: str | None = None,
            **context: Any,
        ) -> StudioPage:
            """A tab of a fresh window, or of the same window as the tab `beside`; of another server than the usual
            one where that is named."""
            if beside is not None:
                return StudioPage(beside.page.context.new_page(), beside.address)
            assert browser is not None
            window: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
            stack.callback(window.close)
            studio = StudioPage(window.new_page(), server or address)
            stack.callback(studio.end)
            stack.callback(lambda: _assert_none(studio.errors))
            return studio

        yield tab


def _assert_none(errors: list[str]) -> None:
    assert errors == []


@pytest.fixture
def photograph() -> Callable[[StudioPage, str], None]:
    """Keeps a screenshot of a tab under build/screens."""

    def take(studio: StudioPage, name: str) -> None:
        SCREENS.mkdir(parents=True, exist_ok=True)
        studio.page.screenshot(path=SCREENS / f"{name}.png")

    return take
