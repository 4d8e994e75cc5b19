"""What an `Engine` gives back: a mesh with its report, and the failure of a job as an exception."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai_engine.facts import MeshFacts, MeshFormat, ModelLabel, PrintFacts, ViewName
from ai_engine.mesh_files.sniff import format_of
from ai_engine.stage_result import JobFailure

StageProgress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`."""


@dataclass(frozen=True)
class Pictures:
    """What an engine is shown besides what the request names by URL: the bytes of picture files."""

    picture: bytes | None = field(default=None, repr=False)
    """In place of the request's `image_url`."""
    mask: bytes | None = field(default=None, repr=False)
    """In place of its `mask_url`."""
    views: Mapping[ViewName, bytes] = field(default_factory=dict, repr=False)
    """Beside or in place of its `image_urls`."""

    @property
    def by_part(self) -> dict[str, bytes]:
        """The bytes by the name of their part in a form."""
        named: dict[str, bytes | None] = {"image": self.picture, "mask": self.mask}
        named |= self.views  # type: ignore[arg-type]  # names of views are names
        return {name: data for name, data in named.items() if data is not None}


class GenerationFailed(Exception):
    """A job ended without a mesh; `failure` has its code and one sentence."""

    def __init__(self, failure: JobFailure) -> None:
        super().__init__(f"{failure.detail} ({failure.code})")
        self.failure = failure


class ServerRefused(Exception):
    """The service at the engine's address does not take the request, or can't be reached."""


@dataclass(frozen=True, eq=False)
class Generated:
    """A finished mesh."""

    format: MeshFormat
    """Of `data`."""
    data: bytes = field(repr=False)
    """The mesh file, as the service would deliver it."""
    facts: MeshFacts = field(repr=False)
    seed: int
    """Makes the same mesh again."""
    model: ModelLabel
    """The id of the shape model, and the licence of what it makes."""
    timings_s: dict[str, float] = field(repr=False)
    """Seconds per stage."""
    other_format: Callable[[MeshFormat], bytes] = field(repr=False)
    """The mesh file in another format."""
    gcode: bytes | None = field(default=None, repr=False)
    """What a slicer made of it, where `slice` asked for that."""
    release: Callable[[], None] = field(default=lambda: None, repr=False)
    """Lets go of the files that other formats are made of; else that happens when nothing holds this object."""

    @property
    def report(self) -> PrintFacts:
        """What a slicer will find: `watertight`, `printable`, `volume_cm3`, `bbox_mm`, `warnings`, ..."""
        return self.facts.print

    def bytes_as(self, file_format: MeshFormat) -> bytes:
        """The mesh file in any format."""
        return self.data if file_format == self.format else self.other_format(file_format)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the mesh to `path`, whole or not at all; the suffix says in which format. Returns the path.

        Raises:
            ValueError: the suffix is that of no mesh format.
            OSError: the file can't be written.
        """
        final = Path(path)
        write_whole(final, self.bytes_as(format_of(final)))
        return final


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: under another name first, so that half a file is never seen.

    Raises:
        OSError: the file can't be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        error.filename = str(path)  # A full disk names no file, others the one of another name.
        raise
    finally:
        part.unlink(missing_ok=True)
