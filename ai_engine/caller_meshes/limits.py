"""How much of a caller's mesh is taken."""

from __future__ import annotations

from dataclasses import dataclass

from ai_engine.settings import Settings


@dataclass(frozen=True)
class MeshLimits:
    """How much of a caller's mesh is taken, and for how long its download is waited for."""

    max_bytes: int = 50_000_000
    """Of the file."""
    max_faces: int = 2_000_000
    timeout_s: float = 30.0
    """Of the download."""

    @classmethod
    def of(cls, settings: Settings) -> MeshLimits:
        """Those that the settings name."""
        return cls(settings.mesh_max_bytes, settings.mesh_max_faces, settings.download_timeout_s)

    @property
    def over(self) -> str:
        """The sentence for a file of more bytes."""
        return f"The mesh file has more than {self.max_bytes / 1e6:g} MB."
