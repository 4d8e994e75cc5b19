from __future__ import annotations

import shutil
from pathlib import Path

from ai_engine.storage.data_folder import DataFolder


def test_what_stays_is_not_gone_whatever_is_written_in_it(tmp_path: Path) -> None:
    database = tmp_path / "jobs.sqlite"
    database.touch()
    folder = DataFolder([tmp_path, database])

    database.write_bytes(b"more")
    (tmp_path / "jobs").mkdir()

    assert not folder.is_gone()


def test_what_was_removed_is_gone_and_so_is_what_came_in_its_place(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    folder = DataFolder([data])
    data.rename(tmp_path / "moved")

    assert folder.is_gone()
    data.mkdir()
    assert folder.is_gone()


def test_a_database_that_was_removed_alone_is_gone(tmp_path: Path) -> None:
    database = tmp_path / "jobs.sqlite"
    database.touch()
    folder = DataFolder([tmp_path, database])
    database.unlink()

    assert folder.is_gone()


def test_what_was_not_there_yet_may_come_and_must_stay_then(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = DataFolder([data])
    assert not folder.is_gone()
    data.mkdir()
    assert not folder.is_gone()
    shutil.rmtree(data)
    assert folder.is_gone()
