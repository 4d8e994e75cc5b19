from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ai_engine.engine.generated import GenerationFailed, write_whole
from ai_engine.errors import NoForeground
from ai_engine.stage_result import JobFailure


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.stl", b"first")
    write_whole(tmp_path / "a.stl", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.stl", b"second")]


def test_a_file_that_can_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.stl").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "a.stl", b"bytes")
    assert caught.value.filename == str(tmp_path / "a.stl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.stl"]


def test_a_full_disk_is_said_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(tmp_path / "a.stl", b"bytes")
    assert caught.value.filename == str(tmp_path / "a.stl")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_says_what_and_its_code() -> None:
    error = GenerationFailed(JobFailure.of(NoForeground("Nothing is visible.")))
    assert str(error) == "Nothing is visible. (no_foreground)"
