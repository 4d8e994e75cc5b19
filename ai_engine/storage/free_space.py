"""How much of the disk is free for new work."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_room(folder: Path, min_free_bytes: int) -> bool:
    """True when the disk that `folder` is on, or will be on, has at least `min_free_bytes` free."""
    return free_bytes(folder) >= min_free_bytes


def free_bytes(folder: Path) -> int:
    """What is free of the disk that `folder` is on, or will be on."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free
