"""Addresses, events and mesh files made of whatever may come."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.sample_job import job as sample_job
from support.sample_job import print_facts

from ai_engine.facts import MeshFacts
from ai_engine.job import Artifact, Job, JobOptions
from ai_engine.logs import without_secrets
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.monitoring.tracing import sane_traceparent
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, parse_exceptions
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, UsedOptions
from ai_engine.web.api_keys import parse_keys
from ai_engine.webhooks.event import JobEvent
from fuzz.conftest import IS_LONG

MAX_EVENT_BYTES = 4096
many = settings(max_examples=20_000 if IS_LONG else 100)
"""These take no service: more of them fit into the same time."""
NAMES = st.from_regex(r"[A-Za-z0-9._:\-]{1,128}", fullmatch=True)
WORDS = st.text(max_size=5000)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e9)
POLICY = AddressPolicy(exceptions=frozenset(), is_development=False, rewrite_loopback_to=None)
HOSTS = st.one_of(
    st.integers(0, 2**32 - 1).map(str),
    st.integers(0, 2**32 - 1).map(hex),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=4).map(lambda address: f"[::ffff:{address}]"),
    st.text("0123456789abcdefx.:[]%@/\\\u3002\uff10\u2460", max_size=30),
)


@many
@given(st.one_of(st.text(max_size=200), st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "ftp", "HTTP"]),
                                                  HOSTS, st.sampled_from(["", "/", ":80/x", "?a#b"]))))  # fmt: skip
@example("http://[::1%25eth0]/")
@example("http://0x7f.1/")
def test_an_address_is_taken_or_refused_and_nothing_else_happens(url: str) -> None:
    try:
        POLICY.check_url(url)
    except AddressForbidden:
        return
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return  # A name: where it leads is checked when it is resolved.
    assert address.is_global
    assert not address.is_multicast


@many
@given(st.one_of(st.text(max_size=100), st.builds("{}:{}".format, HOSTS, st.integers())))
def test_a_list_of_exceptions_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        parse_exceptions(text)


@many
@given(NAMES, NAMES, WORDS, WORDS, NUMBERS, st.integers(0, 2**63 - 1))
def test_the_event_of_a_failure_is_small_plain_and_comes_back_as_it_was(
    session_id: str, asset_id: str, title: str, detail: str, seconds: float, seed: int
) -> None:
    failure = JobFailure("internal", title, detail, Stage.QUEUE, True)
    result = JobResult(
        {"queue": seconds}, UsedOptions(JobOptions(seed)), {"id": "m", "licence": "l"}, failure=failure
    )

    check_event(replace(sample_job(), session_id=session_id, asset_id=asset_id), result)


@many
@given(NAMES, st.lists(WORDS, max_size=30), st.tuples(NUMBERS, NUMBERS, NUMBERS), st.integers(0, 2**40))
def test_the_event_of_a_success_is_small_plain_and_comes_back_as_it_was(
    asset_id: str, warnings: list[str], bbox: tuple[float, float, float], size: int
) -> None:
    facts = MeshFacts("stl", size, "mm", bbox, print_facts(warnings=tuple(warnings)))
    result = JobResult(
        {"queue": 0.1}, UsedOptions(JobOptions(0)), {}, Artifact("x", "0" * 64, size), mesh=facts
    )

    check_event(replace(sample_job(), asset_id=asset_id), result)


def check_event(job: Job, result: JobResult) -> None:
    text = JobEvent.of(job, result, 1.0).to_json()

    assert text.isascii()
    assert len(text) < MAX_EVENT_BYTES
    event = json.loads(text)
    assert (event["data"]["session_id"], event["data"]["asset_id"]) == (job.session_id, job.asset_id)
    assert json.dumps(event, separators=(",", ":")) == text
    assert not set(text) & set("\r\n\0")


COORDINATES = st.floats(-(2.0**60), 2.0**60, width=32)


@many
@given(st.data())
def test_an_stl_file_holds_every_face_with_its_corners_as_they_were(data: st.DataObject) -> None:
    import tempfile

    num_vertices = data.draw(st.integers(3, 20))
    vertices = data.draw(arrays(np.float32, (num_vertices, 3), elements=COORDINATES))
    num_faces = data.draw(st.integers(0, 30))
    faces = data.draw(arrays(np.int32, (num_faces, 3), elements=st.integers(0, num_vertices - 1)))
    name = data.draw(st.text(max_size=200))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.stl"
        write_mesh(Mesh(vertices, faces), path, "stl", notes=FileNotes(name, is_mm=True))
        file = path.read_bytes()

    assert not file.startswith(b"solid")
    assert struct.unpack_from("<I", file, 80)[0] == num_faces
    assert len(file) == 84 + 50 * num_faces
    rows = np.frombuffer(file, np.uint8, offset=84).reshape(num_faces, 50)
    numbers = rows[:, :48].copy().view("<f4").reshape(num_faces, 4, 3)
    np.testing.assert_array_equal(numbers[:, 1:], vertices[faces])
    assert np.isfinite(numbers).all()


@many
@given(st.text(max_size=300), st.lists(st.text(min_size=6, max_size=20), max_size=3))
def test_a_log_line_is_cleaned_whatever_it_holds(text: str, secrets: list[str]) -> None:
    told = without_secrets(f"GET https://u:p@a.example/x?{'q' * 9} {text}", secrets)

    assert "u:p" not in told
    assert "qqq" not in told


@many
@given(st.text(max_size=100))
def test_a_traceparent_and_a_list_of_keys_are_read_or_refused(text: str) -> None:
    assert sane_traceparent(text) in (text, None)
    with suppress(ValueError):
        parse_keys(text)
