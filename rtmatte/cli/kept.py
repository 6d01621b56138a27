"""The settings of a run: those kept from the last one, or a preset, and over them what the command line says."""

from __future__ import annotations

from collections.abc import Mapping

from rtmatte.cli.console import warn
from rtmatte.errors import InputError, SinkError
from rtmatte.live.drawing import live_background
from rtmatte.settings import Settings, SettingsFolder, Value


class KeptSettings:
    """Gives the settings to begin with, and keeps at the end what was changed in between.

    What the command line says counts for this run only. A file that is damaged is told and left as it is: nothing is
    kept before it is mended.
    """

    def __init__(self, folder: SettingsFolder, preset: str | None, given: Mapping[str, Value | None]) -> None:
        """Raises InputError for a preset that is not there, and for a wrong setting on the command line."""
        self._folder = folder
        self._whole = True
        try:
            self._last = folder.load()
        except InputError as error:
            warn(f"{error}; until then the settings are the defaults, and not kept")
            self._whole, self._last = False, Settings()
        base = self._last if preset is None else folder.preset(preset)
        told = {name: value for name, value in given.items() if value is not None}
        if preset is None and "background" not in told:
            base = _with_a_background(base)
        self.first = Settings.from_dict(told, base)

    def keep(self, settings: Settings) -> None:
        """Keeps what differs from the first settings; where that cannot be written, it is told."""
        first = self.first.to_dict()
        changed = {name: value for name, value in settings.to_dict().items() if value != first[name]}
        kept = Settings.from_dict(changed, self._last)
        if self._whole and kept != self._last:
            try:
                self._folder.save(kept)
            except SinkError as error:
                warn(str(error))


def _with_a_background(kept: Settings) -> Settings:
    """Returns the settings with a background that is there: a kept picture may have been moved since."""
    try:
        live_background(kept.background)
    except InputError as error:
        warn(f"{error}; blurring the room instead")
        return Settings.from_dict({"background": Settings().background}, kept)
    return kept
