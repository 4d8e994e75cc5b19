"""What a finished stage of a job leaves behind: small enough to live in the job engine, unlike its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ai_engine.facts import CutOutFacts, DecodeFacts, MeshFacts
from ai_engine.job import Artifact


@dataclass(frozen=True)
class StageResult:
    """The file that a stage wrote and the facts that go with it."""

    artifact: Artifact
    seconds: Mapping[str, float]
    """By the name of the stage; the step `shape` has two, denoise and decode."""
    decode: DecodeFacts | None = None
    degraded: tuple[str, ...] = ()
    """What was lowered because the device's memory ran short."""
    preview: Artifact | None = None
    """A picture of the mesh, where it is drawn with the job."""
    drawable: Artifact | None = None
    """The finished mesh that the picture is drawn from, where that waits until it is asked for."""
    mesh: MeshFacts | None = None
    cutout: CutOutFacts | None = None
    mask: Artifact | None = None
    """The caller's mask, beside the picture."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the job engine keeps them."""
        return asdict(self) | {"seconds": dict(self.seconds), "degraded": list(self.degraded)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> StageResult:
        """The result that `to_dict` wrote, in this version or an earlier one, which left out what it had not."""
        files = ("preview", "drawable", "mask")
        kept = {name: Artifact(**fields[name]) if fields.get(name) else None for name in files}
        mesh, decode, cutout = (fields.get(name) for name in ("mesh", "decode", "cutout"))
        return cls(
            Artifact(**fields["artifact"]),
            fields["seconds"],
            decode=DecodeFacts.from_dict(decode) if decode else None,
            degraded=tuple(fields.get("degraded") or ()),
            mesh=MeshFacts.from_dict(mesh) if mesh else None,
            cutout=CutOutFacts.from_dict(cutout) if cutout else None,
            **kept,
        )
