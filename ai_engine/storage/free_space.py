"""How much of the disk and of main memory is free for new work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

SYSTEM_MEMORY = Path("/proc/meminfo")
GROUP_MEMORY = Path("/sys/fs/cgroup")
"""Of a container, where it has a limit."""


def has_room(folder: Path, min_free_bytes: int) -> bool:
    """True when the disk that `folder` is on, or will be on, has at least `min_free_bytes` free."""
    return free_bytes(folder) >= min_free_bytes


def free_bytes(folder: Path) -> int:
    """What is free of the disk that `folder` is on, or will be on."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def free_main_memory() -> int | None:
    """Bytes of main memory that this process may still take; None where the system does not say."""
    known = [left for left in (_left_to_system(), _left_to_group()) if left is not None]
    return min(known, default=None)


def _left_to_system() -> int | None:
    available_kb = _number(SYSTEM_MEMORY, r"^MemAvailable:\s*(\d+) kB")
    return None if available_kb is None else 1024 * available_kb


def _left_to_group() -> int | None:
    """What lies in pages of files does not count: the system drops those."""
    limit = _number(GROUP_MEMORY / "memory.max", r"^(\d+)$")
    taken = _number(GROUP_MEMORY / "memory.stat", r"^anon (\d+)$")
    return None if limit is None or taken is None else max(0, limit - taken)


def _number(path: Path, pattern: str) -> int | None:
    """The first number in a file that `pattern` finds."""
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
