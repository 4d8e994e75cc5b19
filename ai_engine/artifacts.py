"""The files of jobs: written whole or not at all, known by their sha256. Local disk.

A file gets its bytes under a temporary name, reaches the disk, then gets its name; only after that is there a
record of it. Knows no stages, no formats and no database.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ai_engine.job import Artifact


@dataclass(frozen=True)
class ArtifactStore:
    """A folder with one folder per job in it."""

    root: Path

    def put(self, job_id: str, name: str, write: Callable[[Path], None]) -> Artifact:
        """The record of a job's file called `name`, whose bytes `write` puts at the path it is given.

        Raises:
            OSError: the disk is full, or the folder can't be written.
        """
        final = self.root / job_id / name
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{name}.{secrets.token_hex(4)}.part")
        try:
            write(part)
            record = Artifact(uri=f"{job_id}/{name}", sha256=_sha256(part), size=part.stat().st_size)
            _sync(part)
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
        _sync(final.parent)
        return record

    def put_bytes(self, job_id: str, name: str, data: bytes) -> Artifact:
        """The record of a job's file called `name` that holds `data`."""

        def write(path: Path) -> None:
            path.write_bytes(data)

        return self.put(job_id, name, write)

    def has(self, artifact: Artifact) -> bool:
        """True when the file is there in its full size."""
        with suppress(OSError):
            return self.path(artifact).stat().st_size == artifact.size
        return False

    def path(self, artifact: Artifact) -> Path:
        """Where the file lies on this machine."""
        return self.root / artifact.uri


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders; its rename is durable by itself.
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
