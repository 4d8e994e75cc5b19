"""The slicer's profiles: ini files in a folder, printers/NAME.ini, filaments/NAME.ini, print_settings/NAME.ini."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_engine.wishes.slicing import Slice

SHIPPED = Path(__file__).with_name("profiles")
FOLDERS = {"printer": "printers", "filament": "filaments", "print_settings": "print_settings"}
"""Of the profiles that each field of the wish names."""


@dataclass(frozen=True)
class UnknownProfile:
    """A field that names a profile which is not there, and those that are."""

    field: str
    known: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why the wish is refused."""
        return f"known are: {', '.join(self.known) or 'none'}"


def profile_files(folder: Path, field: str) -> dict[str, Path]:
    """The files that the field may name, by name; none where the folder lacks them."""
    return {path.stem: path for path in sorted((folder / FOLDERS[field]).glob("*.ini")) if path.is_file()}


def choose_profiles(folder: Path, wish: Slice) -> tuple[Path, ...] | UnknownProfile:
    """The files of printer, filament and print settings, or the first that is not there.

    Names are looked up among the files that exist, so that none leads out of the folder.
    """
    chosen = []
    for field in FOLDERS:
        files = profile_files(folder, field)
        if getattr(wish, field) not in files:
            return UnknownProfile(field, tuple(files))
        chosen.append(files[getattr(wish, field)])
    return tuple(chosen)
