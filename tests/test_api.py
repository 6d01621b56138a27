"""The control API without a socket: what each route does, what it refuses, and that its description is true."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from rtmatte.api import ROUTES, Api, ApiError, Request, openapi
from rtmatte.api.messages import plain
from rtmatte.control import Command, Control, FindPerson, GivenMask, Pick, Point, Reseed
from rtmatte.frame import Phase
from rtmatte.imaging import decode_image
from rtmatte.live import View
from rtmatte.settings import Settings
from tests.api_bench import PICTURE, Bench, FakeLine, encoded, new_bench, values

ONLY_COMPOSITE: tuple[View, ...] = ("composite",)

bench = pytest.fixture(new_bench)


def test_settings_are_shown_and_changed(bench: Bench) -> None:
    answer = bench.send("PATCH", "settings", {"mirror": True, "background": "blur:20"})

    assert answer.status == 200
    assert bench.control.settings == Settings(mirror=True, background="blur:20")
    assert values(bench.send("GET", "settings")) == values(answer) == bench.control.settings.to_dict()


@pytest.mark.parametrize(
    "body",
    [
        {"despill": 2},
        {"colour": "red"},
        {"background": "none"},
        {"background": "transparent"},
        {"background": "side-by-side"},
        {"background": "/etc/passwd"},
        {"background": "beach.jpg"},
        {"background": "file:../../beach.jpg"},
        {"background": "blur:900"},
        {"background": None},
        [1],
        b"{",
        b'{"despill": NaN}',
        b"[" * 60_000,
        b"\xff",
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(bench: Bench, body: object) -> None:
    answer = bench.send("PATCH", "settings", body, "application/json")

    assert answer.status == 400
    assert "expected" in values(answer)["error"]
    assert bench.control.settings == Settings()


def test_status_is_plain_values(bench: Bench) -> None:
    assert values(bench.send("GET", "status")) == {
        "phase": "tracking",
        "dropped": {"network busy": 2},
        "latency": None,
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "command"),
    [
        ("POST", "target", {"kind": "person"}, FindPerson()),
        ("POST", "target", {"kind": "pick", "points": [{"x": 0.5, "y": 1}]}, Pick((Point(0.5, 1.0),))),
        (
            "POST",
            "target",
            {"kind": "pick", "points": [{"x": 0.5, "y": 0.5, "wanted": False}], "box": [0.1, 0.1, 0.9, 1]},
            Pick((Point(0.5, 0.5, wanted=False),), (0.1, 0.1, 0.9, 1.0)),
        ),
        ("POST", "target/undo", b"", FindPerson()),
        ("POST", "reseed", b"", Reseed()),
    ],
)
def test_commands_reach_the_control(bench: Bench, method: str, path: str, body: object, command: Command) -> None:
    assert bench.send(method, path, body).status == 202

    assert bench.commands() == [command]


def test_a_recording_is_asked_for(bench: Bench) -> None:
    assert bench.send("POST", "record", {"on": True}).status == 202

    assert bench.control.recording


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("target", {"kind": "dog"}),
        ("target", {"kind": "person", "points": []}),
        ("target", {"kind": "pick"}),
        ("target", {"kind": "pick", "points": 3}),
        ("target", {"kind": "pick", "points": [{"x": 0.5}]}),
        ("target", {"kind": "pick", "points": [{"x": True, "y": 0}]}),
        ("target", {"kind": "pick", "points": [{"x": 2, "y": 0}]}),
        ("target", {"kind": "pick", "points": [{"x": 0.5, "y": 0.5, "z": 1}]}),
        ("target", {"kind": "pick", "points": [{"x": 0.5, "y": 0.5}] * 65}),
        ("target", {"kind": "pick", "box": [0, 0, 1]}),
        ("target", {"kind": "pick", "box": [0, 0, 0, 1]}),
        ("target", {"kind": "pick", "boxes": []}),
        ("record", {}),
        ("record", {"on": 1}),
    ],
)
def test_commands_that_mean_nothing_are_refused(bench: Bench, path: str, body: object) -> None:
    answer = bench.send("POST", path, body)

    assert answer.status == 400
    assert "expected" in values(answer)["error"]
    assert bench.commands() == []


def test_a_mask_is_read_from_the_body(bench: Bench) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[:, 3:] = 255

    assert bench.send("PUT", "target/mask", encoded(".png", mask), "image/png").status == 202

    [command] = bench.commands()
    assert isinstance(command, GivenMask)
    assert np.array_equal(command.mask.values, mask / 255)


def test_presets_are_kept_listed_and_loaded(bench: Bench) -> None:
    bench.send("PATCH", "settings", {"background": "green", "privacy": True})

    assert values(bench.send("PUT", "presets/At work")) == {"presets": ["At work"]}
    bench.send("PATCH", "settings", {"background": "blur"})
    loaded = bench.send("POST", "presets/At work/load")

    assert values(loaded)["background"] == "green"
    assert values(loaded)["privacy"] is True
    assert values(bench.send("GET", "presets")) == {"presets": ["At work"]}


def test_a_preset_that_is_not_there_or_whose_picture_is_gone_changes_nothing(bench: Bench) -> None:
    bench.send("PUT", "background", encoded(".png"), "image/png")
    bench.send("PUT", "presets/gone")
    Path(bench.control.settings.background).unlink()
    before = bench.control.change(background="blur")

    assert bench.send("POST", "presets/gone/load").status == 400
    assert bench.send("POST", "presets/other/load").status == 400
    assert bench.send("PUT", "presets/..").status == 400
    assert bench.control.settings == before


def test_without_a_folder_there_are_no_presets(tmp_path: Path) -> None:
    api = Api(FakeLine(), Control(), uploads=tmp_path)

    assert api.answer(Request("GET", "presets")).status == 404


def test_the_newest_picture_is_a_jpeg(bench: Bench) -> None:
    answer = bench.send("GET", "frame.jpg", view="matte")

    assert (answer.status, answer.content_type) == (200, "image/jpeg")
    decoded = decode_image(answer.body)
    assert np.abs(decoded.astype(int) - PICTURE).max() < 12


def test_a_grey_picture_and_one_with_alpha_are_shown_too(tmp_path: Path) -> None:
    for channels in (1, 4):
        line = FakeLine(np.zeros((6, 8, channels), np.uint8))
        assert Bench(tmp_path, line).send("GET", "frame.jpg").status == 200


def test_no_picture_an_unknown_view_and_one_not_given_away_are_told_apart(tmp_path: Path) -> None:
    api = Api(FakeLine(None), Control(), uploads=tmp_path, views=ONLY_COMPOSITE)

    statuses = [
        api.answer(Request("GET", "frame.jpg", {"view": view})).status for view in ("composite", "x", "original")
    ]

    assert statuses == [503, 400, 403]


def test_unknown_paths_and_methods_are_told(bench: Bench) -> None:
    assert bench.send("GET", "nothing").status == 404
    assert bench.send("GET", "presets//load").status == 404
    refused = bench.send("DELETE", "settings")

    assert (refused.status, refused.headers) == (405, {"Allow": "GET, PATCH"})


def test_a_limit_is_known_before_the_body_is_read(bench: Bench) -> None:
    assert bench.api.limit("GET", "settings") == 0
    assert bench.api.limit("PUT", "background") == 64 << 20
    with pytest.raises(ApiError, match="nothing"):
        bench.api.limit("GET", "nothing")
    assert bench.send("POST", "reseed", b"x").status == 413


def test_commands_by_name_are_those_without_a_body(bench: Bench) -> None:
    for name in ("person", "undo", "reseed"):
        bench.api.command(name)
        assert len(bench.commands()) == 1


def test_the_description_has_every_route_and_every_setting(bench: Bench) -> None:
    told = values(bench.send("GET", "openapi.json"))

    assert told == openapi()
    assert {(method.upper(), path[1:]) for path, methods in told["paths"].items() for method in methods} == {
        (route.method, route.path) for route in ROUTES
    }
    settings = told["paths"]["/settings"]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    assert list(settings["properties"]) == [each.name for each in fields(Settings)]
    for name, each in settings["properties"].items():
        for value in (each["default"], *(each[key] for key in ("minimum", "maximum") if key in each)):
            assert bench.send("PATCH", "settings", {name: value}).status == 200
        if "maximum" in each:
            assert bench.send("PATCH", "settings", {name: each["maximum"] + 1}).status == 400


def test_anything_becomes_plain() -> None:
    assert plain({Phase.LOST: (1, float("inf"), Path("a"))}) == {"lost": [1, None, "a"]}
