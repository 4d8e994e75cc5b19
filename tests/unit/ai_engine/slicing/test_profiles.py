from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from ai_engine.slicing.profiles import (
    FOLDERS,
    SHIPPED,
    UnknownProfile,
    choose_profiles,
    profile_files,
)
from ai_engine.wishes.slicing import Slice


def test_the_defaults_of_the_wish_are_shipped() -> None:
    chosen = choose_profiles(SHIPPED, Slice())

    assert not isinstance(chosen, UnknownProfile)
    assert [path.stem for path in chosen] == ["ender-3", "pla", "standard"]


@pytest.mark.parametrize("field", FOLDERS)
def test_every_shipped_profile_is_an_ini_file_that_runs_no_program(field: str) -> None:
    files = profile_files(SHIPPED, field)
    assert files
    for path in files.values():
        read = ConfigParser(interpolation=None)
        read.read_string(f"[profile]\n{path.read_text()}")
        assert "post_process" not in read["profile"]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "printers").mkdir()
    for name in ("mk4.ini", "xl.ini", "notes.txt"):
        (tmp_path / "printers" / name).write_text("")

    unknown = choose_profiles(tmp_path, Slice("prusa"))
    assert unknown == UnknownProfile("printer", ("mk4", "xl"))
    assert "known are: mk4, xl" in UnknownProfile("printer", ("mk4", "xl")).reason
    assert choose_profiles(tmp_path, Slice("mk4")) == UnknownProfile("filament", ())


@pytest.mark.parametrize("name", ["../pla", "a/b", "..", ".hidden", "", "a\x00b", "C:\\x", "x" * 65, "a\n"])
def test_no_path_can_be_said_with_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "printers").mkdir()
    (tmp_path / "pla.ini").write_text("")

    with pytest.raises(ValidationError):
        TypeAdapter(Slice).validate_python({"printer": name})
    # Nor where it was not checked.
    assert isinstance(choose_profiles(tmp_path, Slice(name)), UnknownProfile)
