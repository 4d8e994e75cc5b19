from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from support.sample_job import job, print_facts

from ai_engine.errors import JobCancelled, NoForeground
from ai_engine.facts import CutOutFacts, MeshFacts, MeshFormat
from ai_engine.job import Artifact
from ai_engine.stage_result import JobFailure, JobResult
from ai_engine.webhooks.event import MAX_DETAIL_CHARS, MAX_EVENT_BYTES, JobEvent, artifact_facts

JOB = job()
ARTIFACT = Artifact("file:///a.stl", "0" * 64, 684)
CUTOUT = CutOutFacts("alpha", 0.3, (), 0, ())


def success(**changes: Any) -> JobResult:
    mesh = MeshFacts("stl", 12, "mm", (1.00004, 2.0, 3.0), print_facts(**changes))
    return JobResult({"shape": 1.5}, artifact=ARTIFACT, mesh=mesh, cutout=CUTOUT)


def data_of(event: JobEvent, **options: Any) -> dict[str, Any]:
    text = event.write(**options).text
    assert text.isascii()
    assert len(text) < MAX_EVENT_BYTES
    data: dict[str, Any] = json.loads(text)["data"]
    return data


def test_a_success_describes_the_file_and_the_print() -> None:
    event = JobEvent.of(JOB, success(), 0.0)
    data = data_of(event)

    assert (event.type, event.timestamp) == ("generation.succeeded", "1970-01-01T00:00:00Z")
    assert [data[name] for name in ("job_id", "session_id", "asset_id", "status")] == [
        JOB.job_id,
        "s1",
        "a1",
        "completed",
    ]
    assert (data["artifact"]["size"], data["artifact"]["bbox"]) == (684, [1.0, 2.0, 3.0])
    assert data["print"]["triangles"] == 12
    assert data["cutout"]["source"] == "alpha"


def test_a_failure_says_its_code_and_a_sentence_of_bounded_length() -> None:
    failure = JobFailure.of(NoForeground("x" * 2 * MAX_DETAIL_CHARS))
    event = JobEvent.of(JOB, JobResult(failure=failure), 0.0)

    assert event.type == "generation.failed"
    assert event.data["error"]["code"] == "no_foreground"
    assert len(event.data["error"]["detail"]) == MAX_DETAIL_CHARS
    assert "artifact" not in event.data


def test_a_cancelled_job_has_an_event_of_its_own() -> None:
    failure = JobFailure.of(JobCancelled("The job was cancelled."))
    assert JobEvent.of(JOB, JobResult(failure=failure), 0.0).type == "generation.cancelled"


def test_the_link_stands_in_the_artifact_and_only_there() -> None:
    event = JobEvent.of(JOB, success(), 0.0)

    assert data_of(event, url="https://e.example/f")["artifact"]["url"] == "https://e.example/f"
    assert "url" not in data_of(event)["artifact"], "the event itself is unchanged"


def test_g_code_is_a_file_of_the_event_with_a_link_of_its_own() -> None:
    result = replace(success(), gcode=Artifact("file:///a.gcode", "1" * 64, 99))
    event, links = (
        JobEvent.of(JOB, result, 0.0),
        {"a1.stl": "https://e.example/f", "a1.gcode": "https://e.example/g"},
    )

    told = data_of(event, url=links["a1.stl"], urls=links)

    file = {"size": 99, "sha256": "1" * 64, "filename": "a1.gcode"}
    assert (told["gcode"], data_of(event)["gcode"]) == (file | {"url": links["a1.gcode"]}, file)
    assert "gcode" not in data_of(JobEvent.of(JOB, success(), 0.0))


def test_every_file_under_the_longest_names_is_still_an_event() -> None:
    formats: tuple[MeshFormat, ...] = ("3mf", "glb", "obj", "ply")
    named = replace(JOB, session_id="s" * 128, asset_id="a" * 128, more_formats=formats)
    files = dict.fromkeys(formats, ARTIFACT)
    result = replace(success(), more_files=files, gcode=ARTIFACT)
    links = {named.file_name_in("gcode"): "https://e.example/" + "f" * 400}
    links |= {named.file_name_in(one): "https://e.example/" + "f" * 400 for one in named.formats}

    told = data_of(JobEvent.of(named, result, 0.0), url=links[named.file_name_in("stl")], urls=links)

    assert told["artifact"]["url"] == links[named.file_name_in("stl")]
    assert "artifacts" in told["left_out"]


def test_what_does_not_fit_is_left_out_by_name_the_least_needed_first() -> None:
    event = JobEvent.of(JOB, success(warnings=("A very long warning. " * 300,)), 0.0)
    data = data_of(event)

    assert data["left_out"] == ["print"]
    assert "print" not in data
    assert data["artifact"]["sha256"] == "0" * 64


def test_an_event_read_back_is_the_same_event() -> None:
    event = JobEvent.of(JOB, success(), 12.0)
    again = JobEvent.from_json(event.to_json())

    assert again.to_json() == event.to_json()
    assert again.timestamp == event.timestamp


def test_without_a_mesh_there_is_no_artifact_to_describe() -> None:
    assert artifact_facts(JOB, JobResult()) is None
    facts = artifact_facts(JOB, success())
    assert facts is not None
    assert (facts.media_type, facts.filename, facts.preview) == (
        "model/stl",
        JOB.file_name_in(JOB.format),
        None,
    )
