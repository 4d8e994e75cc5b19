"""Whether the disk has space for new work."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_room(folder: Path, min_free_bytes: int) -> bool:
    """True when the disk that `folder` is on, or will be on, has at least `min_free_bytes` free."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free >= min_free_bytes
