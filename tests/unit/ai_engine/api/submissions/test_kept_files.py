"""Files that jobs begin with: each job has its own."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from support.sample_job import job

from ai_engine.api.request_body import Picture
from ai_engine.api.submissions.kept_files import KeptFiles
from ai_engine.errors import FileExpired
from ai_engine.job import Job
from ai_engine.storage.store import LocalStore
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions

SLAB = b"solid slab"


def on(mesh_url: str | None) -> Job:
    return job(print_options=PrintOptions(base=Base(mesh_url=mesh_url)))


@pytest.fixture
def files(tmp_path: Path) -> KeptFiles:
    return KeptFiles(LocalStore(tmp_path / "jobs"))


def test_what_came_in_a_request_lies_under_its_digest(files: KeptFiles) -> None:
    digest = hashlib.sha256(SLAB).hexdigest()
    kept = files.keep("1" * 32, "pedestal", Picture(io.BytesIO(SLAB), digest))

    assert kept is not None
    assert (kept.sha256, kept.uri) == (digest, f"{'1' * 32}/pedestal-{digest[:16]}")
    assert files.keep("1" * 32, "pedestal", None) is None


@pytest.mark.parametrize("url", ["https://a.example/slab.stl", "sha256:ab"])
def test_a_pedestal_outlives_the_job_that_had_it(files: KeptFiles, url: str) -> None:
    first, later = on(url), on(url)
    kept = files.store.put_bytes(first.job_id, "pedestal", SLAB)

    copied = files.copy_pedestal(later, kept)
    files.store.remove(first.job_id)

    assert copied is not None
    assert files.store.path(copied).read_bytes() == SLAB


def test_one_that_is_gone_is_fetched_again_where_it_has_a_url(files: KeptFiles) -> None:
    kept = files.store.put_bytes("1" * 32, "pedestal", SLAB)
    files.store.remove("1" * 32)

    assert files.copy_pedestal(on("https://a.example/slab.stl"), kept) is None
    assert files.copy_pedestal(on(None), kept) is None
    with pytest.raises(FileExpired):
        files.copy_pedestal(on("sha256:ab"), kept)
