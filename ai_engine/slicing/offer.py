"""What a worker can slice with: whether PrusaSlicer is there, and the names of its profiles. Runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ai_engine.slicing.profiles import FOLDERS, UnknownProfile, profile_files
from ai_engine.wishes.slicing import Slice

INSTALL = "this service has no slicer: its operator installs PrusaSlicer (apt-get install prusa-slicer)"


@dataclass(frozen=True)
class Refusal:
    """Why a wish can't be met here: the field, a reason, a code."""

    field: str
    reason: str
    code: str


@dataclass(frozen=True)
class SlicerOffer:
    """What can be sliced with."""

    is_there: bool = False
    """The program is installed."""
    profiles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names, by the field of a wish that they are for."""

    @classmethod
    def of_folder(cls, folder: Path) -> SlicerOffer:
        """That of a program with the profiles in `folder`."""
        return cls(True, {field: tuple(profile_files(folder, field)) for field in FOLDERS})

    def refusal(self, wish: Slice) -> Refusal | None:
        """Why the wish can't be met; None where it can."""
        if not self.is_there:
            return Refusal("slice", INSTALL, "slicer_missing")
        for name in FOLDERS:
            known = tuple(self.profiles.get(name, ()))
            if getattr(wish, name) not in known:
                return Refusal(f"slice.{name}", UnknownProfile(name, known).reason, "profile_unknown")
        return None

    def to_json(self) -> str:
        """The offer as the registry of workers keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SlicerOffer:
        """The offer that `to_json` wrote."""
        return cls(**json.loads(text))


def common_offer(offers: Sequence[SlicerOffer]) -> SlicerOffer:
    """What all of them can slice with: no job then depends on which worker takes it."""
    first, *others = offers
    profiles = {
        name: [one for one in names if all(one in other.profiles.get(name, ()) for other in others)]
        for name, names in first.profiles.items()
    }
    return SlicerOffer(all(offer.is_there for offer in offers), profiles)
