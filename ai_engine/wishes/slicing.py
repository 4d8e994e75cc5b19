"""The wish for G-code: which printer, filament and print settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, StringConstraints

ProfileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""The name of an ini file without its suffix: no path can be said with it."""


@dataclass(frozen=True)
class Slice:
    """G-code of the finished mesh, by profiles of the service."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    printer: ProfileName = "ender-3"
    """Bed, nozzle, firmware."""
    filament: ProfileName = "pla"
    """Temperatures and density."""
    print_settings: ProfileName = "standard"
    """Layers, infill, supports."""
