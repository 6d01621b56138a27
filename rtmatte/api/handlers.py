"""What each route does to the control and asks of the line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rtmatte.api.messages import ApiError, Request, Response
from rtmatte.api.uploads import Uploads, check_picture
from rtmatte.compose.backgrounds import parse_background
from rtmatte.control import Control, Pick, Point
from rtmatte.errors import InputError
from rtmatte.frame import Pixels
from rtmatte.imaging import decode_mask, encode_jpeg
from rtmatte.live import View
from rtmatte.live.drawing import ALONE
from rtmatte.settings import Settings, SettingsFolder

VIEWS: tuple[View, ...] = get_args(View)
JPEG_QUALITY = 80

_BACKGROUNDS = "blur, blur:1 to blur:100, green, #rrggbb, or file: and the name of a file that was sent"
_FILE = "file:"  # a background file is called by its own name here, never by its path
_WORDS = re.compile(r"blur(:.*)?|green|transparent|side-by-side|none|#.*", re.IGNORECASE)


class Line(Protocol):
    """All the API asks of a live line."""

    @property
    def status(self) -> object:
        """A dataclass of what there is to know now."""
        ...

    def picture(self, view: View) -> Pixels | None:
        """Returns a copy of the newest picture of a view, RGB or grey, in 0..255, or None when there is none."""
        ...


class Handlers:
    """The API's methods on a line and its control; each takes a request whose body has the right kind and size."""

    def __init__(
        self, line: Line, control: Control, *, uploads: Path, kept: SettingsFolder | None, views: Collection[View]
    ) -> None:
        self._line = line
        self._control = control
        self._uploads = Uploads(uploads)
        self._kept = kept
        self._views = views

    def change(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings, as the API shows them, with `values` in them; InputError for a wrong one.

        A background is a word or a colour, or a file that was sent or is in use already: a client knows no paths.
        """
        changed, background = dict(values), values.get("background")
        if isinstance(background, str):
            changed["background"] = self._background(background.strip())
        return shown(self._control.change(**changed))

    def command(self, name: str) -> None:
        """Gives a command that needs no more than its name; InputError for another."""
        known = {"person": self._control.find_person, "undo": self._control.undo, "reseed": self._control.reseed}
        if name not in known:
            raise InputError(f"expected a command out of {', '.join(known)}, found {name!r}")
        known[name]()

    def get_settings(self, request: Request) -> Response:
        return Response.of(shown(self._control.settings))

    def patch_settings(self, request: Request) -> Response:
        return Response.of(self.change(request.json()))

    def get_status(self, request: Request) -> Response:
        return Response.of(self._line.status)

    def post_target(self, request: Request) -> Response:
        values = request.json()
        match values.pop("kind", None):
            case "person" if not values:
                self.command("person")
            case "pick":
                self._control.pick(parse_pick(values))
            case kind:
                raise InputError(f"expected a kind of pick, or of person and nothing else; found {kind!r}")
        return _accepted()

    def put_mask(self, request: Request) -> Response:
        check_picture(request.body, request.media_type)
        self._control.give_mask(decode_mask(request.body, "what was sent"))
        return _accepted()

    def post_undo(self, request: Request) -> Response:
        self.command("undo")
        return _accepted()

    def post_reseed(self, request: Request) -> Response:
        self.command("reseed")
        return _accepted()

    def put_background(self, request: Request) -> Response:
        path = self._uploads.keep(request.body, request.media_type)
        return Response.of(shown(self._control.change(background=str(path))))

    def post_record(self, request: Request) -> Response:
        match request.json():
            case {"on": bool(on), **rest} if not rest:
                self._control.record(on)
            case other:
                raise InputError(f'expected {{"on": true}} or {{"on": false}}, found {other!r}')
        return _accepted()

    def get_presets(self, request: Request) -> Response:
        return Response.of({"presets": self._presets().presets()})

    def put_preset(self, request: Request, name: str) -> Response:
        self._presets().save_preset(name, self._control.settings)
        return self.get_presets(request)

    def load_preset(self, request: Request, name: str) -> Response:
        found = self._presets().preset(name, self._control.settings)
        if found.background != self._control.settings.background:
            _check_background(found.background)
        return Response.of(shown(self._control.change(**found.to_dict())))

    def get_frame(self, request: Request) -> Response:
        asked = request.query.get("view", "composite")
        view = next((view for view in VIEWS if view == asked), None)
        if view is None:
            raise InputError(f"expected a view out of {', '.join(VIEWS)}, found {asked!r}")
        if view not in self._views:
            raise ApiError(HTTPStatus.FORBIDDEN, f"expected a view out of {', '.join(self._views)} here, found {view}")
        pixels = self._line.picture(view)
        if pixels is None:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"expected a picture of {view}, found none yet; ask again")
        picture = encode_jpeg(_opaque(pixels), quality=JPEG_QUALITY)
        return Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    def _presets(self) -> SettingsFolder:
        if self._kept is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "presets are not kept here")
        return self._kept

    def _background(self, text: str) -> str:
        """Returns the setting for a background as the API calls it."""
        now = self._control.settings.background
        if text == _called(now):
            return now
        if text.startswith(_FILE):
            return str(self._uploads.find(text.removeprefix(_FILE)))
        if not _WORDS.fullmatch(text):
            raise InputError(f"expected {_BACKGROUNDS}; found {text!r}")
        _check_background(text)
        return text


def _check_background(text: str) -> None:
    """Raises InputError for a background whose file has gone, or that is no picture: live outputs cannot show it."""
    if parse_background(text).kind in ("none", *ALONE):
        raise InputError(f"expected {_BACKGROUNDS}; found {text!r}, which cannot be changed to while pictures go out")


def parse_pick(values: Mapping[str, Any]) -> Pick:
    """Returns the pick of a JSON object with `points` and `box`; InputError for anything else."""
    points, box = values.get("points", []), values.get("box")
    if unknown := values.keys() - {"points", "box"}:
        raise InputError(f"expected points and a box, found {', '.join(sorted(unknown))}")
    if not isinstance(points, list) or not all(map(_is_point, points)):
        raise InputError('expected points like {"x": 0.5, "y": 0.5, "wanted": true}; found others')
    if box is not None and not (isinstance(box, list) and len(box) == 4 and _are_numbers(box)):
        raise InputError(f"expected a box like [left, top, right, bottom], found {box!r}")
    return Pick(tuple(Point(**point) for point in points), None if box is None else (box[0], box[1], box[2], box[3]))


def shown(settings: Settings) -> dict[str, Any]:
    """Returns the settings as the API shows them: a background file by its name alone, as file:NAME."""
    return {**settings.to_dict(), "background": _called(settings.background)}


def _called(background: str) -> str:
    return background if _WORDS.fullmatch(background) else f"{_FILE}{Path(background).name}"


def _is_point(value: object) -> bool:
    if not isinstance(value, dict) or not {"x", "y"} <= value.keys() <= {"x", "y", "wanted"}:
        return False
    return _are_numbers([value["x"], value["y"]]) and isinstance(value.get("wanted", True), bool)


def _are_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _opaque(pixels: Pixels) -> NDArray[np.uint8]:
    return pixels[..., :3].astype(np.uint8, copy=False)  # what is transparent is black there


def _accepted() -> Response:
    return Response.of({"accepted": True}, HTTPStatus.ACCEPTED)
