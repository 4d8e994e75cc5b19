"""Notices that the folder with jobs' files and the SQLite file was removed or replaced under a running process.

What is open goes on working on files without a name, and all that is written there is lost with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class DataFolder:
    """The places that must stay what they were when they were first seen."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = {place: _identity(place) for place in places}

    def is_gone(self) -> bool:
        """True when one of the places is absent or is another than it was; one that was never there may come."""
        for place, was in self._places.items():
            found = _identity(place)
            if was is None:
                self._places[place] = found
            elif found != was:
                return True
        return False


def _identity(place: Path) -> tuple[int, int] | None:
    """Device and number of the file or folder; None where there is none."""
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
