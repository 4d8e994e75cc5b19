"""The store that machines share: an S3-compatible bucket, with a folder of this machine for the work in between.

A stage writes and reads on its own disk; what another machine may need is in the bucket before there is a record
of it. The keys of the bucket come from AWS's usual variables, or from the machine, as the client library finds
them. The only door to that library.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ai_engine.errors import StartupError, StoreUnavailable
from ai_engine.job import Artifact
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore, LocalStore, is_job_id

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

PIECE_BYTES = 4 * 1024 * 1024
"""Asked for at once: a slow reader holds this much of a file, and no connection."""
UPLOADS_AT_ONCE = 4
"""Parts of one file, of 5 MiB each."""
WORKER_PATIENCE = timedelta(seconds=180)
"""How long a worker tries again to reach the bucket: a stage's work is worth waiting for."""
API_PATIENCE = timedelta(seconds=5)
"""A caller waits meanwhile."""
CHECK_PATIENCE = timedelta(seconds=5)
MAX_RETRIES = 50
"""Never reached: the time is what counts."""
_UNREACHABLE = "The files of jobs can't be reached at this moment."


def open_store(settings: Settings, *, is_worker: bool) -> ArtifactStore:
    """The store that the settings name. A worker keeps copies on its own disk, an API does not."""
    folder = settings.data_dir / "jobs"
    if settings.artifacts_url is None:
        return LocalStore(folder)
    patience = WORKER_PATIENCE if is_worker else API_PATIENCE
    return BucketStore(
        LocalStore(folder, names_tell_content=True),
        _client(settings, patience),
        shown_url=settings.artifacts_url,
        keeps_copies=is_worker,
    )


def check_bucket(settings: Settings) -> None:
    """Checks that the bucket can be written, where one is configured.

    Raises:
        StartupError: it can't; the message says what to change.
    """
    if settings.artifacts_url is not None:
        copies = LocalStore(settings.data_dir / "jobs")
        BucketStore(copies, _client(settings, CHECK_PATIENCE), shown_url=settings.artifacts_url).check()


@dataclass(frozen=True)
class BucketStore:
    """A bucket, and copies of its files on this machine."""

    copies: LocalStore
    client: S3Store
    shown_url: str
    """The bucket's URL, for messages to the operator."""
    keeps_copies: bool = True

    def put(
        self,
        job_id: str,
        name: str,
        write: Callable[[Path], None],
        *,
        is_shared: bool = True,
        sha256: str | None = None,
    ) -> Artifact:
        """Implements `ArtifactStore`: when this returns, a shared file is in the bucket, whole."""
        import obstore

        artifact = self.copies.put(job_id, name, write, sha256=sha256)
        if is_shared:
            path = self.copies.path(artifact)
            try:
                with _translate_errors():
                    obstore.put(self.client, artifact.uri, path, max_concurrency=UPLOADS_AT_ONCE)
            except FileNotFoundError as error:
                raise StoreUnavailable(_UNREACHABLE, retry_after_s=5) from error  # There is no such bucket.
            finally:
                if not self.keeps_copies:
                    _forget(path)
        return artifact

    def put_bytes(self, job_id: str, name: str, data: bytes, *, is_shared: bool = True) -> Artifact:
        """Implements `ArtifactStore`."""

        def write(path: Path) -> None:
            path.write_bytes(data)

        return self.put(job_id, name, write, is_shared=is_shared)

    def has(self, artifact: Artifact) -> bool:
        """Implements `ArtifactStore`."""
        return self.copies.has(artifact) or self._is_in_bucket(artifact)

    def path(self, artifact: Artifact) -> Path:
        """Implements `ArtifactStore`."""
        if not self.copies.has(artifact):
            self.copies.adopt(artifact, self.read(artifact))
        return self.copies.path(artifact)

    def read(self, artifact: Artifact, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Implements `ArtifactStore`."""
        with suppress(FileNotFoundError):
            return self.copies.read(artifact, start, stop)
        if not self._is_in_bucket(artifact):
            raise FileNotFoundError("the file is not there any more")
        return self._pieces(artifact.uri, start, artifact.size if stop is None else stop)

    def remove(self, job_id: str) -> None:
        """Implements `ArtifactStore`. Copies go first: a process that was killed in between finds the bucket again."""
        import obstore

        self.copies.remove(job_id)
        with _translate_errors():
            for page in obstore.list(self.client, f"{job_id}/", chunk_size=1000):
                obstore.delete(self.client, [found["path"] for found in page])

    def jobs(self) -> Iterator[tuple[str, float]]:
        """Implements `ArtifactStore`, for the bucket."""
        import obstore

        latest_s: dict[str, float] = {}
        with _translate_errors():
            # One pass over all names: a job's are neighbours, but a listing need not be in order.
            for page in obstore.list(self.client, chunk_size=1000):
                for found in page:
                    job_id, written_s = found["path"].partition("/")[0], found["last_modified"].timestamp()
                    latest_s[job_id] = max(latest_s.get(job_id, written_s), written_s)
        yield from ((job_id, written_s) for job_id, written_s in latest_s.items() if is_job_id(job_id))

    def drop_old_copies(self, before_s: float) -> int:
        """Implements `ArtifactStore`. Files that only this machine needed go too: a stage makes them again."""
        old = [job_id for job_id, written_s in self.copies.jobs() if written_s < before_s]
        for job_id in old:
            self.copies.remove(job_id)
        return len(old)

    def check(self) -> None:
        """Implements `ArtifactStore`."""
        import obstore
        from obstore.exceptions import BaseError

        name = f"probe-{secrets.token_hex(8)}"
        try:
            obstore.put(self.client, name, b"probe")
            obstore.delete(self.client, name)
        except (BaseError, OSError) as error:
            raise StartupError(
                f"ARTIFACTS_URL {self.shown_url} can't be written: {_reason(error)}. Check the bucket's name, "
                "ARTIFACTS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from None

    def _is_in_bucket(self, artifact: Artifact) -> bool:
        import obstore

        with _translate_errors(), suppress(FileNotFoundError):
            return obstore.head(self.client, artifact.uri)["size"] == artifact.size
        return False

    def _pieces(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        import obstore

        for begin in range(start, stop, PIECE_BYTES):
            with _translate_errors():
                piece = obstore.get_range(
                    self.client, key, start=begin, end=min(begin + PIECE_BYTES, stop)
                ).to_bytes()
            yield piece


def _client(settings: Settings, patience: timedelta) -> S3Store:
    from obstore.store import S3Store

    assert settings.artifacts_url is not None
    url = urlsplit(settings.artifacts_url)
    config: S3Config = {}
    if settings.artifacts_endpoint_url is not None:
        config["endpoint"] = settings.artifacts_endpoint_url
    return S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=config,
        client_options={
            "allow_http": config.get("endpoint", "").startswith("http:"),
            "connect_timeout": "5s",
        },
        retry_config={
            "max_retries": MAX_RETRIES,
            "retry_timeout": patience,
            "backoff": {"max_backoff": timedelta(seconds=5)},
        },
    )


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # Another file of the job is being written there.
        path.parent.rmdir()


@contextmanager
def _translate_errors() -> Generator[None]:
    """Translates errors of the client library into ours; the remote message stays in the log.

    Raises:
        StoreUnavailable: the bucket can't be reached, or refuses.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise StoreUnavailable(_UNREACHABLE, retry_after_s=5) from error


def _reason(error: Exception) -> str:
    """The first line of what the library says: the rest is for its own developers."""
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
