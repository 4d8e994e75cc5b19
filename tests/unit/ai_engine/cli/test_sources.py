from __future__ import annotations

import io
import os
import shutil
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
from support.pictures import draw_disc

from ai_engine.cli.sources import Source, Sources, is_folder

LONG_URL = "data:image/png;base64," + "A" * 5000


def nothing_refused(source: Source, error: Exception) -> None:
    raise AssertionError(f"{source.name}: {error}")


def names(*arguments: str | Path) -> list[str]:
    return [source.name for source in Sources([str(one) for one in arguments], {}, nothing_refused)]


def old(path: Path) -> Path:
    """The picture, as if it had been written a minute ago."""
    draw_disc(path)
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


def test_a_folder_gives_its_pictures_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", ".hidden.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    assert [Path(name).name for name in names(tmp_path)] == ["a.PNG", "b.png"]


def test_a_file_a_url_and_standard_input_are_one_picture_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"bytes")))
    found = list(Sources(["a.png", "https://example.com/b.png?size=1", LONG_URL, "-"], {}, nothing_refused))

    assert [(source.name, source.stem) for source in found] == [
        ("a.png", "a"),
        ("https://example.com/b.png?size=1", "b"),
        ("data URL", "mesh"),
        ("standard input", "mesh"),
    ]
    assert [found[0].picture, found[3].picture] == [Path("a.png"), b"bytes"]


def test_views_are_one_object_called_after_the_first() -> None:
    (one,) = Sources([], {"front": "f.png", "left": "l.png"}, nothing_refused)
    assert (one.stem, one.picture) == ("f", {"front": "f.png", "left": "l.png"})


@pytest.mark.parametrize("argument", [LONG_URL, "x" * 5000, "https://example.com/" + "x" * 5000, "absent"])
def test_what_can_be_no_folder_is_none_however_long_its_name(argument: str) -> None:
    assert not is_folder(argument)


def test_a_folder_that_can_not_be_read_is_refused_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = draw_disc(tmp_path / "good" / "a.png"), tmp_path / "bad"
    bad.mkdir()
    iterdir = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder == bad:
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused: list[str] = []
    found = Sources(
        [str(bad), str(good.parent)], {}, lambda source, error: refused.append(f"{source.name}: {error}")
    )

    assert [source.stem for source in found] == ["a"]
    assert refused == [f"{bad}: [Errno 13] Permission denied: '{bad}'"]


def test_watching_waits_until_a_picture_is_no_longer_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(tmp_path / "a.png")
    found = iter(Sources([str(tmp_path)], {}, nothing_refused, is_watching=True))
    assert next(found).stem == "a"
    arrivals = [lambda: draw_disc(tmp_path / "new.png"), lambda: old(tmp_path / "b.png")]
    monkeypatch.setattr(time, "sleep", lambda _: arrivals.pop(0)())

    assert [source.stem for source in islice(found, 1)] == ["b"]


def test_watching_ends_with_the_last_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path / "in" / "a.png")
    refused: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda _: shutil.rmtree(tmp_path / "in"))

    found = Sources(
        [str(tmp_path / "in")], {}, lambda source, error: refused.append(source.name), is_watching=True
    )

    assert [source.stem for source in found] == ["a"]
    assert refused == [str(tmp_path / "in")]
