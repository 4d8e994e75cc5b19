from __future__ import annotations

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
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "a.stl", b"bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["a.stl"]


def test_a_failure_says_what_and_its_code() -> None:
    error = GenerationFailed(JobFailure.of(NoForeground("Nothing is visible.")))
    assert str(error) == "Nothing is visible. (no_foreground)"
