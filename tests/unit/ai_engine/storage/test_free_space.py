from __future__ import annotations

import shutil
from pathlib import Path

from ai_engine.storage.free_space import has_room


def test_there_is_room_until_less_is_free_than_must_be(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free

    assert has_room(tmp_path, 0)
    assert has_room(tmp_path, free // 2)
    assert not has_room(tmp_path, free * 2)


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    assert has_room(tmp_path / "not" / "yet", 1)
    assert not has_room(tmp_path / "not" / "yet", 10**18)
