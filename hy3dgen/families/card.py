"""What a caller has to know of a published model before it uses one: licences, territory, source, memory. Data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hy3dgen.weights.offload import ACTIVATION_BYTES

EU = (
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"),
    *("IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
)
"""The countries of the European Union, as ISO 3166 codes."""
NAMES = {"GB": "the UK", "KR": "South Korea"}


@dataclass(frozen=True)
class Licence:
    """The licence of one part: its SPDX identifier or name, where its text is, and when that was looked up."""

    part: str
    name: str
    url: str
    seen_on: str


@dataclass(frozen=True)
class Card:
    """One published model. Sizes in bytes; `revision` is the pinned one, None where the specification knows none.

    `territory_excluded` holds the country codes where the licence grants nothing; `outputs_restricted` says that it
    binds the meshes too. `verified_on` says what the numbers of this implementation were compared on.
    """

    model_id: str
    title: str
    source: str
    revision: str | None
    licences: tuple[Licence, ...]
    attribution: str
    guidance_scale: float
    territory_excluded: tuple[str, ...] = ()
    outputs_restricted: bool = False
    num_parameters: int = 0
    num_steps: int = 50
    num_latents: int = 2048
    octree_resolution: int = 384
    verified_on: Literal["fixtures", "weights"] = "fixtures"

    @property
    def licence_notice(self) -> str:
        """The licence of the weights, and where it grants nothing."""
        name = self.licences[0].name
        return f"{name} (not for {self.excluded_words})" if self.territory_excluded else name

    @property
    def excluded_words(self) -> str:
        """Where the licence grants nothing, in words: names of the usual ones, codes of others."""
        left_out = set(self.territory_excluded)
        codes = sorted(left_out - set(EU) if left_out >= set(EU) else left_out)
        names = [*(["the EU"] if left_out >= set(EU) else []), *(NAMES.get(code, code) for code in codes)]
        return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))

    @property
    def memory_bytes(self) -> int:
        """What a job takes of a device, about, in half precision and with all weights on it."""
        return 2 * self.num_parameters + ACTIVATION_BYTES

    def excludes(self, country: str) -> bool:
        """True when the licence leaves out `country`: a code, or `EU` for the whole union."""
        left_out = set(self.territory_excluded)
        return bool(left_out & set(EU)) if country == "EU" else country in left_out
