"""The store in a bucket, against a real S3-compatible server."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.s3_server import KEYS, S3Server

from ai_engine.errors import StartupError, StoreUnavailable
from ai_engine.settings import Settings
from ai_engine.storage import s3_store as bucket_module
from ai_engine.storage.s3_store import check_bucket, open_store
from ai_engine.storage.store import ArtifactStore

JOB = "0" * 32
OTHER_JOB = "1" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    running = S3Server()
    yield running
    running.close()


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return server.new_bucket()


Machine = Callable[..., ArtifactStore]


@pytest.fixture
def machine(server: S3Server, bucket: str, tmp_path: Path) -> Machine:
    """The store as it is on a machine of that name."""

    def at(name: str, *, is_worker: bool = True) -> ArtifactStore:
        return open_store(settings_of(server, bucket, tmp_path / name), is_worker=is_worker)

    return at


def settings_of(server: S3Server, bucket: str, folder: Path) -> Settings:
    return Settings(
        data_dir=folder, artifacts_url=f"s3://{bucket}/some/prefix/", artifacts_endpoint_url=server.url
    )


def files_below(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file()]


def test_what_one_machine_writes_another_reads(machine: Machine) -> None:
    artifact = machine("a").put_bytes(JOB, "mesh.stl", b"triangles")

    there = machine("b")

    assert (artifact.size, artifact.sha256) == (9, hashlib.sha256(b"triangles").hexdigest())
    assert there.has(artifact)
    assert b"".join(there.read(artifact)) == b"triangles"
    assert there.path(artifact).read_bytes() == b"triangles"


def test_parts_of_a_file_are_read_from_the_bucket_as_from_the_disk(machine: Machine) -> None:
    data = bytes(range(256)) * 40_000
    near = machine("a")
    artifact = near.put_bytes(JOB, "mesh.stl", data)

    for start, stop in ((0, None), (5, 6), (4_194_303, 4_194_305), (10_000_000, None), (7, 7)):
        for store in (near, machine("b")):
            assert b"".join(store.read(artifact, start, stop)) == data[start:stop]


def test_everything_lies_below_the_prefix(machine: Machine, server: S3Server, bucket: str) -> None:
    artifact = machine("a").put_bytes(JOB, "mesh.stl", b"triangles")

    assert server.keys(bucket) == [f"some/prefix/{JOB}/{artifact.sha256[:16]}-mesh.stl"]


def test_a_file_that_only_this_machine_needs_stays_on_it(
    machine: Machine, server: S3Server, bucket: str
) -> None:
    artifact = machine("a").put_bytes(JOB, "picture", b"pixels", is_shared=False)

    assert machine("a").path(artifact).read_bytes() == b"pixels"
    assert not machine("b").has(artifact)
    assert server.keys(bucket) == []


def test_an_api_keeps_no_copy_on_its_own_disk(machine: Machine, tmp_path: Path) -> None:
    artifact = machine("api", is_worker=False).put_bytes(JOB, "picture", b"pixels")

    assert files_below(tmp_path / "api") == []
    assert machine("worker").path(artifact).read_bytes() == b"pixels"


def test_two_machines_that_write_the_same_name_keep_both_files(machine: Machine) -> None:
    first = machine("a").put_bytes(JOB, "mesh.stl", b"one")
    second = machine("b").put_bytes(JOB, "mesh.stl", b"two")

    assert b"".join(machine("c").read(first)) == b"one"
    assert b"".join(machine("c").read(second)) == b"two"


def test_a_file_that_is_gone_is_told_apart_from_one_that_can_not_be_had(
    machine: Machine, server: S3Server, bucket: str
) -> None:
    artifact = machine("a").put_bytes(JOB, "mesh.stl", b"triangles")
    server.delete(bucket, f"some/prefix/{artifact.uri}")

    assert machine("a").has(artifact), "its own copy"
    assert not machine("b").has(artifact)
    for use in (machine("b").path, machine("b").read):
        with pytest.raises(FileNotFoundError):
            use(artifact)


def test_a_file_that_is_not_what_its_record_says_is_never_used(machine: Machine, tmp_path: Path) -> None:
    artifact = machine("a").put_bytes(JOB, "mesh.stl", b"triangles")

    with pytest.raises(FileNotFoundError):
        machine("b").path(replace(artifact, sha256="0" * 64))
    assert files_below(tmp_path / "b") == []


def test_an_upload_that_breaks_is_no_record(
    machine: Machine, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = open_store(settings_of(server, "no-such-bucket", tmp_path / "a"), is_worker=False)

    with pytest.raises(StoreUnavailable) as refused:
        nowhere.put_bytes(JOB, "mesh.stl", b"triangles")
    assert "no-such-bucket" not in refused.value.detail


def test_a_server_that_does_not_answer_is_tried_again_and_then_told(
    bucket: str, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "API_PATIENCE", timedelta(seconds=0.3))
    settings = Settings(
        data_dir=tmp_path, artifacts_url="s3://b/p", artifacts_endpoint_url="http://127.0.0.1:9"
    )
    artifact = open_store(settings_of(server, bucket, tmp_path), is_worker=False).put_bytes(JOB, "x", b"x")

    with pytest.raises(StoreUnavailable) as failed:
        open_store(settings, is_worker=False).has(artifact)
    assert "127.0.0.1" not in failed.value.detail


def test_a_job_leaves_nothing_behind_and_the_others_stay(
    machine: Machine, server: S3Server, bucket: str
) -> None:
    store = machine("a")
    gone = [store.put_bytes(JOB, name, name.encode()) for name in ("mesh.npz", "mesh.stl")]
    stays = store.put_bytes(OTHER_JOB, "mesh.stl", b"triangles")

    store.remove(JOB)
    store.remove(JOB)

    assert not any(store.has(artifact) for artifact in gone)
    assert server.keys(bucket) == [f"some/prefix/{stays.uri}"]


def test_jobs_are_listed_with_the_time_of_their_latest_file(machine: Machine) -> None:
    store = machine("a")
    for job_id in (JOB, OTHER_JOB):
        store.put_bytes(job_id, "mesh.stl", b"triangles")
    store.put_bytes("not-a-job", "notes.txt", b"of somebody else")

    listed = dict(machine("b").jobs())

    assert set(listed) == {JOB, OTHER_JOB}
    assert all(moment_s > 1.7e9 for moment_s in listed.values())


def test_the_check_leaves_nothing_behind(server: S3Server, bucket: str, tmp_path: Path) -> None:
    check_bucket(settings_of(server, bucket, tmp_path))

    assert (server.keys(bucket), list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("url", ["s3://no-such-bucket/p", "s3://no-such-bucket"])
def test_the_check_says_which_setting_leads_nowhere(
    server: S3Server, bucket: str, tmp_path: Path, url: str
) -> None:
    settings = Settings(data_dir=tmp_path, artifacts_url=url, artifacts_endpoint_url=server.url)

    with pytest.raises(StartupError, match=f"ARTIFACTS_URL {url}") as refused:
        check_bucket(settings)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)


def test_a_service_without_a_bucket_does_not_load_the_client() -> None:
    code = "import sys, ai_engine.api.app, ai_engine.worker.process; sys.exit('obstore' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
