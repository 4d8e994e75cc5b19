"""The files of jobs: written whole or not at all, known by their sha256. What a store is, and the one on this disk.

A file gets its bytes under a temporary name, reaches the disk, then gets its name; only after that is there a
record of it. The store that machines share is `s3_store.py`. Knows no stages, no formats and no database.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ai_engine.errors import StartupError
from ai_engine.job import Artifact

READ_BYTES = 256 * 1024
_JOB_ID = re.compile(r"[0-9a-f]{32}")
"""What a job's folder is called: nothing else in the store is ever taken away."""


class ArtifactStore(Protocol):
    """Where the files of jobs are."""

    def put(
        self,
        job_id: str,
        name: str,
        write: Callable[[Path], None],
        *,
        is_shared: bool = True,
        sha256: str | None = None,
    ) -> Artifact:
        """The record of a job's file called `name`, whose bytes `write` puts at the path it is given.

        `is_shared`: other machines need it, or it is expensive to make again. `sha256`: of the bytes, where the
        caller has computed it already.

        Raises:
            OSError: the disk is full, or the folder can't be written.
            StoreUnavailable: other machines could not be given it.
        """

    def put_bytes(self, job_id: str, name: str, data: bytes, *, is_shared: bool = True) -> Artifact:
        """As `put`, of a file that holds `data`."""

    def has(self, artifact: Artifact) -> bool:
        """True when the file is there in its full size.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    def path(self, artifact: Artifact) -> Path:
        """Where the file lies on this machine; it is brought here if it has to.

        Raises:
            FileNotFoundError: there is no such file any more.
            StoreUnavailable: it can't be had now.
        """

    def read(self, artifact: Artifact, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop` in pieces, so that memory stays flat.

        Raises:
            FileNotFoundError: there is no such file any more; known before the first piece.
            StoreUnavailable: it can't be had now.
        """

    def remove(self, job_id: str) -> None:
        """Takes all files of the job away; none left is fine.

        Raises:
            StoreUnavailable: they can't be reached now.
        """

    def jobs(self) -> Iterator[tuple[str, float]]:
        """The id of every job that has files, and when the latest of them was written, in seconds since 1970.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    def drop_old_copies(self, before_s: float) -> int:
        """How many jobs' files were dropped that lie elsewhere too, and that were not written here since `before_s`."""

    def check(self) -> None:
        """Checks that files can be written and removed.

        Raises:
            StartupError: they can't be; the message says what to change.
        """


@dataclass(frozen=True)
class LocalStore:
    """A folder with one folder per job in it."""

    root: Path
    names_tell_content: bool = False
    """Part of each name is of the file's sha256: two that write one name at once never meet."""

    def put(
        self,
        job_id: str,
        name: str,
        write: Callable[[Path], None],
        *,
        is_shared: bool = True,
        sha256: str | None = None,
    ) -> Artifact:
        """Implements `ArtifactStore`."""
        folder = self.root / job_id
        folder.mkdir(parents=True, exist_ok=True)
        with _Part(folder, name) as part:
            write(part.path)
            sha256 = sha256 or _sha256(part.path)
            file_name = f"{sha256[:16]}-{name}" if self.names_tell_content else name
            record = Artifact(uri=f"{job_id}/{file_name}", sha256=sha256, size=part.path.stat().st_size)
            part.become(folder / file_name)
        return record

    def put_bytes(self, job_id: str, name: str, data: bytes, *, is_shared: bool = True) -> Artifact:
        """Implements `ArtifactStore`."""

        def write(path: Path) -> None:
            path.write_bytes(data)

        return self.put(job_id, name, write, is_shared=is_shared)

    def adopt(self, artifact: Artifact, pieces: Iterable[bytes]) -> None:
        """Makes `pieces` this store's file of that record.

        Raises:
            FileNotFoundError: they are not what the record says.
        """
        final = self._at(artifact)
        final.parent.mkdir(parents=True, exist_ok=True)
        with _Part(final.parent, final.name) as part:
            with part.path.open("wb") as file:
                file.writelines(pieces)
            if _sha256(part.path) != artifact.sha256:
                raise FileNotFoundError("the file is not the one of its record")
            part.become(final)

    def has(self, artifact: Artifact) -> bool:
        """Implements `ArtifactStore`."""
        with suppress(OSError):
            return self._at(artifact).stat().st_size == artifact.size
        return False

    def path(self, artifact: Artifact) -> Path:
        """Implements `ArtifactStore`."""
        if not self.has(artifact):
            raise FileNotFoundError("the file is not there any more")
        return self._at(artifact)

    def read(self, artifact: Artifact, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Implements `ArtifactStore`."""
        end = artifact.size if stop is None else stop
        return _pieces(self.path(artifact).open("rb"), start, end)

    def remove(self, job_id: str) -> None:
        """Implements `ArtifactStore`."""
        shutil.rmtree(self.root / job_id, ignore_errors=True)

    def jobs(self) -> Iterator[tuple[str, float]]:
        """Implements `ArtifactStore`."""
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            latest_s = _latest_s(folder) if is_job_id(folder.name) else None
            if latest_s is not None:
                yield folder.name, latest_s

    def drop_old_copies(self, before_s: float) -> int:
        """Implements `ArtifactStore`: these files are no copies, so none is dropped."""
        return 0

    def check(self) -> None:
        """Implements `ArtifactStore`."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with _Part(self.root, "probe") as part:
                part.path.write_bytes(b"probe")
        except OSError as error:
            raise StartupError(f"DATA_DIR {self.root.parent} can't be written: {error.strerror}") from error

    def _at(self, artifact: Artifact) -> Path:
        return self.root / artifact.uri


def is_job_id(name: str) -> bool:
    """True when a folder of this name may hold the files of a job."""
    return _JOB_ID.fullmatch(name) is not None


class _Part:
    """A file under a temporary name; gone at the end of the block unless it has become the real one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f".{name}.{secrets.token_hex(4)}.part"

    def __enter__(self) -> _Part:
        return self

    def become(self, final: Path) -> None:
        """Gives the file its name, once its bytes are on the disk."""
        _sync(self.path)
        self.path.replace(final)
        _sync(final.parent)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _pieces(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = stop - start
        while left > 0 and (piece := file.read(min(READ_BYTES, left))):
            left -= len(piece)
            yield piece


def _latest_s(folder: Path) -> float | None:
    """When the folder or a file in it was written last; None when it is being taken away."""
    try:
        return max([folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.iterdir())])
    except OSError:
        return None


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
