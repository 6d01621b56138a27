"""What a user may change while the picture runs, as one value, and the files in which it is kept between runs.

One TOML file holds the settings last used, and one more each preset. Nothing here acts on a setting.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from rtmatte.errors import InputError, SinkError

Value = str | float | bool

MOMENTARY = frozenset({"privacy", "frozen"})  # of one run: they are never kept
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")


def _number(default: float, least: float, most: float, says: str) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "says": says})


def _switch(default: bool, says: str) -> Any:
    return field(default=default, metadata={"says": says})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, checked: InputError for a wrong type, or a number out of its range.

    The metadata of a field says what it means and, for a number, its `least` and `most`. Whether a background exists
    is for whoever opens it to say.
    """

    background: str = field(default="blur", metadata={"says": "what is behind the person"})
    edge_shift: float = _number(0.0, -4, 4, "moves the edge, in working pixels; above 0 shows more of the person")
    edge_softness: float = _number(0.0, 0, 8, "widens the edge, in working pixels")
    despill: float = _number(1.0, 0, 1, "how much of the room's colour is taken out of the edge")
    light_wrap: float = _number(0.0, 0, 1, "how much of the background's light falls on the edge")
    steadiness: float = _number(0.0, 0, 1, "how far the edge is steadied over time")
    mirror: bool = _switch(False, "mirrors previews, never the output")
    privacy: bool = _switch(False, "shows a slate in place of the picture")
    frozen: bool = _switch(False, "lets the output stand still on the last picture")
    reseed_every: float = _number(0.0, 0, 86_400, "seconds between two fresh looks at the person; 0 is never")
    reseed_on_drift: bool = _switch(True, "looks afresh when the cut-out has drifted away from the person")

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _checked(each, getattr(self, each.name)))

    def to_dict(self) -> dict[str, Value]:
        """Returns every setting by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], base: Self | None = None) -> Self:
        """Returns `base`, or the defaults, with `values` in it; InputError for an unknown name or a wrong value."""
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"expected settings out of {', '.join(known)}; found {name!r}")
        return replace(base if base is not None else cls(), **values)


def _checked(each: Field[Any], value: object) -> Value:
    """Returns `value` in the type of its field: a whole number becomes a float, and nothing else is converted."""
    if isinstance(each.default, bool):
        if not isinstance(value, bool):
            raise InputError(f"expected true or false for {each.name}, found {value!r}")
        return value
    if isinstance(each.default, str):
        if not isinstance(value, str) or not value.strip() or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise InputError(f"expected a text for {each.name}, found {value!r}")
        return value
    least, most = each.metadata["least"], each.metadata["most"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"expected a number from {least} to {most} for {each.name}, found {value!r}")
    return float(value)


class SettingsFolder:
    """The settings kept for this user: those last used, and presets by name.

    A file that is missing is no error where nothing was asked for by name. Raises InputError for a file that is
    damaged, with its path, and SinkError where nothing can be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or config_folder()

    @property
    def path(self) -> Path:
        """The file of the settings last used."""
        return self.folder / "settings.toml"

    def load(self) -> Settings:
        """Returns the settings last used, the defaults when there are none."""
        return _read(self.path) or Settings()

    def save(self, settings: Settings) -> None:
        """Keeps `settings` as those last used."""
        _write(self.path, settings)

    def presets(self) -> tuple[str, ...]:
        """Returns the names of the presets, in alphabetical order."""
        found = (path.stem.removeprefix("preset-") for path in self.folder.glob("preset-*.toml"))
        return tuple(sorted(name for name in found if _NAME.fullmatch(name)))

    def preset(self, name: str, now: Settings = Settings()) -> Settings:
        """Returns the preset `name`, with what is of the moment as it is in `now`; InputError when there is none."""
        found = _read(self._preset_path(name))
        if found is None:
            kept = f"kept are {', '.join(self.presets())}" if self.presets() else "none is kept yet"
            raise InputError(f"expected a preset, found none called {name!r}; {kept}")
        return replace(found, **{each: getattr(now, each) for each in MOMENTARY})

    def save_preset(self, name: str, settings: Settings) -> None:
        """Keeps `settings` under `name`, in place of what was there; InputError for a name that cannot be one."""
        _write(self._preset_path(name), settings)

    def _preset_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputError(f"expected a name of 1 to 40 letters, digits, spaces, - and _, found {name!r}")
        return self.folder / f"preset-{name}.toml"


def config_folder() -> Path:
    """Returns where this platform keeps a user's settings of rtmatte, a folder that may not be there yet.

    Raises InputError for a user without a home.
    """
    try:
        return _config_base() / "rtmatte"
    except RuntimeError as reason:
        raise InputError(f"expected a home folder for the settings: {reason}; set HOME") from reason


def _config_base() -> Path:
    match platform.system():
        case "Windows":
            return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        case "Darwin":
            return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _read(path: Path) -> Settings | None:
    """Returns the settings in a file, None where there is no file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Settings.from_dict({name: value for name, value in values.items() if name not in MOMENTARY})
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as reason:  # not readable, not text, not TOML, or not settings
        raise InputError(f"expected settings in {path}: {reason}; mend or delete the file") from reason


def _write(path: Path, settings: Settings) -> None:
    """Writes the whole file or nothing: under another name first."""
    lines = [f"{name} = {_toml(value)}\n" for name, value in settings.to_dict().items() if name not in MOMENTARY]
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text("".join(lines), encoding="utf-8")
        draft.replace(path)
    except OSError as reason:
        raise SinkError(f"cannot keep the settings in {path}: {reason.strerror or reason}") from reason


def _toml(value: Value) -> str:
    """Returns a value as TOML, whose texts are those of JSON but for one sign."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
