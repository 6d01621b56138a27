"""Settings are checked at birth, and survive the way through a file, whatever is in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmatte.errors import InputError, SinkError
from rtmatte.settings import Settings, SettingsFolder, config_folder

CHANGED = Settings(background="#102030", edge_shift=-1.5, mirror=True, reseed_every=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("edge_shift", 4.5),
        ("edge_shift", float("nan")),
        ("edge_softness", -0.1),
        ("despill", "1"),
        ("despill", True),
        ("mirror", 1),
        ("background", ""),
        ("background", 3),
        ("background", "a\udc80"),
        ("reseed_every", -1),
        ("edge", 1.0),
    ],
)
def test_a_wrong_value_or_name_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        Settings.from_dict({name: value})


def test_a_dictionary_and_back_is_the_same() -> None:
    assert Settings.from_dict(CHANGED.to_dict()) == CHANGED
    assert Settings.from_dict({"despill": 0}, CHANGED) == replace(CHANGED, despill=0.0)


def test_whole_numbers_become_floats() -> None:
    assert isinstance(Settings(edge_shift=2).edge_shift, float)


def test_settings_are_kept_but_for_what_is_of_the_moment(tmp_path: Path) -> None:
    folder = SettingsFolder(tmp_path / "new" / "rtmatte")

    folder.save(replace(CHANGED, privacy=True, frozen=True))

    assert folder.load() == CHANGED
    assert [file.name for file in folder.folder.iterdir()] == ["settings.toml"]


@given(background=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_background_survives_the_file(tmp_path_factory: pytest.TempPathFactory, background: str) -> None:
    folder = SettingsFolder(tmp_path_factory.getbasetemp() / "settings")

    folder.save(Settings(background=background))

    assert folder.load().background == background


def test_without_a_file_the_settings_are_the_defaults(tmp_path: Path) -> None:
    assert SettingsFolder(tmp_path / "none").load() == Settings()


@pytest.mark.parametrize("content", [b"edge_shift = ", b"edge_shift = 99", b"colour = 'red'", b"\xff\xfe", b"[mirror]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    folder = SettingsFolder(tmp_path)
    folder.path.write_bytes(content)

    with pytest.raises(InputError, match=r"settings\.toml.*mend or delete"):
        folder.load()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SinkError, match="cannot keep the settings in"):
        SettingsFolder(tmp_path / "file" / "rtmatte").save(Settings())


def test_presets_are_found_by_name_and_leave_the_moment_alone(tmp_path: Path) -> None:
    folder = SettingsFolder(tmp_path)
    folder.save_preset("office", CHANGED)
    folder.save_preset("At home", Settings())

    assert folder.presets() == ("At home", "office")
    assert folder.preset("office", Settings(privacy=True)) == replace(CHANGED, privacy=True)


def test_an_unknown_preset_is_told_with_those_there_are(tmp_path: Path) -> None:
    SettingsFolder(tmp_path).save_preset("office", CHANGED)

    with pytest.raises(InputError, match=r"'home'.*office"):
        SettingsFolder(tmp_path).preset("home")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\\b", ".", "x" * 41, "a.toml", "naïve"])
def test_a_preset_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected a name"):
        SettingsFolder(tmp_path).save_preset(name, Settings())


@pytest.mark.parametrize(
    ("system", "variable", "end"),
    [
        ("Linux", "XDG_CONFIG_HOME", "x/rtmatte"),
        ("Windows", "APPDATA", "x/rtmatte"),
        ("Darwin", "", "Library/Application Support/rtmatte"),
    ],
)
def test_each_platform_has_its_folder(monkeypatch: pytest.MonkeyPatch, system: str, variable: str, end: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    if variable:
        monkeypatch.setenv(variable, f"{os.sep}x")

    assert config_folder().as_posix().endswith(end)


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(Path, "home", nowhere)

    with pytest.raises(InputError, match="set HOME"):
        config_folder()
