from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ai_engine.storage import free_space
from ai_engine.storage.free_space import free_main_memory, has_room


def test_there_is_room_until_less_is_free_than_must_be(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free

    assert has_room(tmp_path, 0)
    assert has_room(tmp_path, free // 2)
    assert not has_room(tmp_path, free * 2)


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    assert has_room(tmp_path / "not" / "yet", 1)
    assert not has_room(tmp_path / "not" / "yet", 10**18)


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own files, as they look with 2 GB available."""
    monkeypatch.setattr(free_space, "SYSTEM_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(free_space, "GROUP_MEMORY", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:  2000000 kB\n")


@pytest.mark.usefixtures("_files")
def test_free_main_memory_is_what_the_system_can_give() -> None:
    assert free_main_memory() == 2_048_000_000


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("limit", "free"), [("max", 2_048_000_000), ("1500000000", 1_100_000_000), ("300000000", 0)]
)
def test_the_limit_of_a_container_counts_without_pages_of_files(
    tmp_path: Path, limit: str, free: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\nfile 900000000\n")
    assert free_main_memory() == free


@pytest.mark.usefixtures("_files")
def test_where_the_system_does_not_say_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "meminfo").unlink()
    assert free_main_memory() is None
