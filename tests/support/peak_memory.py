"""The most memory that this process ever held; for tests that start a process of their own to look at it."""

from __future__ import annotations

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
CAN_BE_MEASURED = _STATUS.exists()


def peak_kb() -> int:
    """Resident, in kB. `getrusage` would count what the parent held when it started this process."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None
    return int(found[1])
