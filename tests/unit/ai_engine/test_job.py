from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from support.sample_job import print_facts

from ai_engine.api.request_schema import JobRequest, VariantRequest
from ai_engine.engine.engine import PRINT_FIELDS
from ai_engine.errors import JobCancelled, UnreadableImage
from ai_engine.facts import CutOutFacts, DecodeFacts, MeshFacts
from ai_engine.job import Artifact, DecodedShape, Job, JobOptions, rfc3339
from ai_engine.stage import Stage, overall_progress
from ai_engine.stage_result import JobFailure, JobResult, UsedOptions
from ai_engine.webhooks.event import JobEvent

GOOD = {"session_id": "s1", "asset_id": "a1", "image_url": "https://example.com/a.png"}


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": "0" * 32,
        "session_id": "s1",
        "asset_id": "a1",
        "image_url": None,
        "image": Artifact("x/picture", "0" * 64, 3),
        "webhook_url": "https://example.com/hook",
        "webhook_format": "multipart",
        "options": JobRequest(**GOOD, seed=1).options(),
        "remove_background": "auto",
        "format": "stl",
        "priority": 0,
        "timeout_s": 900.0,
        "accepted_at_s": 1.0,
        "request_sha256": "0" * 64,
    }
    return Job(**fields | changes)


def result() -> JobResult:
    return JobResult(
        timings_s={"download": 0.5},
        options=UsedOptions(JobOptions(seed=1)),
        model={"id": "m"},
        artifact=Artifact("x/mesh.stl", "ab" * 32, 184),
        mesh=MeshFacts("stl", 2, "model", (1.0, 2.0, 3.0), print_facts()),
        decode=DecodeFacts("strict", (64, 64, 64), 0.03, True, 1000),
    )


def test_quality_names_a_resolution_and_a_resolution_wins_over_it() -> None:
    assert JobRequest(**GOOD, quality="high").options().octree_resolution == 384
    assert JobRequest(**GOOD, quality="high", octree_resolution=100).options().octree_resolution == 100


def test_what_belongs_to_the_model_is_left_to_it() -> None:
    options = JobRequest(**GOOD, seed=3).options()

    assert (options.seed, options.num_inference_steps, options.guidance_scale) == (3, None, None)
    assert options.octree_resolution == 256
    assert (options.mc_level, options.num_chunks, options.bounds) == (None, None, None)


def test_a_seed_is_drawn_where_none_is_given() -> None:
    seeds = {JobRequest(**GOOD).options().seed for _ in range(20)}

    assert len(seeds) == 20
    assert all(0 <= seed < 2**53 for seed in seeds)


def test_an_unknown_field_is_refused_by_its_name() -> None:
    with pytest.raises(ValidationError, match="image_ulr"):
        JobRequest.model_validate(GOOD | {"image_ulr": "x"})


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "model/stl"}, '{"Content-Type": "model/stl"}'], ids=["json", "form"]
)
def test_upload_headers_come_as_an_object_or_as_text_of_a_form(headers: Any) -> None:
    assert JobRequest(**GOOD, upload_headers=headers).upload_headers == {"content-type": "model/stl"}


@pytest.mark.parametrize("headers", [{"host": "x"}, {"x-amz-a": 3}, ["x"], "{", "[]", {"x-amz-a": "a\nb"}])
def test_other_upload_headers_are_refused_by_the_fields_name(headers: Any) -> None:
    with pytest.raises(ValidationError, match="upload_headers"):
        JobRequest(**GOOD, upload_headers=headers)


def test_jobs_and_results_come_back_from_json_as_they_were() -> None:
    assert Job.from_dict(json.loads(json.dumps(job().to_dict()))) == job()
    again = JobResult.from_dict(json.loads(json.dumps(result().to_dict())))
    assert (again.mesh, again.decode) == (result().mesh, result().decode)
    assert json.dumps(again.to_dict()) == json.dumps(result().to_dict())
    failed = JobResult(failure=JobFailure.of(UnreadableImage("broken")))
    assert JobResult.from_dict(failed.to_dict()) == failed


def test_progress_grows_from_zero_to_one_along_the_stages() -> None:
    told = [overall_progress(stage, done, 2) for stage in list(Stage)[1:] for done in (0, 1, 2)]

    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    assert overall_progress(Stage.QUEUE, 0, 0) == 0.0


def test_an_event_of_success_describes_file_and_mesh() -> None:
    event = JobEvent.of(job(), result(), 0.0)

    assert (event.type, event.timestamp) == ("generation.succeeded", "1970-01-01T00:00:00Z")
    assert event.data["status"] == "completed"
    assert event.data["artifact"] == {
        "format": "stl",
        "media_type": "model/stl",
        "size": 184,
        "sha256": "ab" * 32,
        "filename": "a1.stl",
        "faces": 2,
        "units": "model",
        "bbox": [1.0, 2.0, 3.0],
    }


@pytest.mark.parametrize(
    ("error", "kind"), [(UnreadableImage("broken"), "failed"), (JobCancelled(), "cancelled")]
)
def test_an_event_of_an_end_without_a_mesh_carries_the_error(error: Any, kind: str) -> None:
    event = JobEvent.of(job(), JobResult(failure=JobFailure.of(error)), 0.0)

    assert (event.type, event.data["status"]) == (f"generation.{kind}", kind)
    assert event.data["error"]["code"] == error.code
    assert "artifact" not in event.data


def test_an_event_is_compact_ascii() -> None:
    failure = JobFailure.of(UnreadableImage("für"))

    text = JobEvent.of(job(), JobResult(failure=failure), 0.0).to_json()

    assert text.isascii()
    assert json.loads(text)["data"]["error"]["detail"] == "für"
    assert '": ' not in text


def test_times_are_written_in_utc_with_a_z() -> None:
    assert rfc3339(1_790_000_000.9) == "2026-09-21T14:13:20Z"


def test_an_event_stays_below_4_kb_and_says_what_it_left_out() -> None:
    much = print_facts(warnings=("a sentence of some length about what a slicer will find",) * 100)
    crowded = result()
    assert crowded.mesh is not None
    crowded = replace(crowded, mesh=replace(crowded.mesh, print=much), timings_s={"denoise": 1.0})
    longest = job(session_id="s" * 128, asset_id="a" * 128)
    url = f"https://{'h' * 500}/files/{'0' * 32}/{'a' * 128}.stl?expires=1790000000&signature={'s' * 43}"

    text = JobEvent.of(longest, crowded, 0.0).write(url).text

    assert len(text) < 4096
    data = json.loads(text)["data"]
    assert (data["left_out"], data["timings_s"]) == (["print"], {"denoise": 1.0})
    assert data["artifact"]["url"] == url
    assert "left_out" not in json.loads(JobEvent.of(longest, result(), 0.0).write(url).text)["data"]


def test_an_event_of_a_failure_with_much_to_say_is_cut_short() -> None:
    failure = JobFailure.of(UnreadableImage("ü" * 5000))

    text = JobEvent.of(job(), JobResult(failure=failure), 0.0).to_json()

    assert len(text) < 4096
    assert json.loads(text)["data"]["error"]["code"] == "image_invalid"


def test_an_event_read_back_is_the_same() -> None:
    text = JobEvent.of(job(), result(), 0.0).to_json()

    assert JobEvent.from_json(text).to_json() == text


def test_a_job_written_before_there_were_retries_uploads_and_owners_can_be_read() -> None:
    fields = job().to_dict()
    for name in ("owner", "attempt", "retry_of", "upload_url", "print_options"):
        del fields[name]

    assert Job.from_dict(fields) == job()


def test_a_retry_is_the_same_job_under_an_id_that_all_who_ask_agree_on() -> None:
    first = job()
    second, third = first.again(5.0), first.again(5.0).again(6.0)

    assert second == first.again(5.0)
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    assert (third.attempt, third.retry_of, third.options) == (3, first.job_id, first.options)
    assert len(second.job_id) == 32


def test_a_variant_goes_through_json() -> None:
    decode, cut_out = DecodeFacts("strict", (64, 64, 64), 0.03, True, 1000), CutOutFacts("x", 0.5, (), 0, ())
    file = Artifact("x/mesh.npz", "0" * 64, 3)
    shape = DecodedShape("1" * 32, file, file, {"id": "m"}, decode, ("num_chunks 9",), cut_out)
    one = job(decoded=shape, more_formats=("3mf", "ply"))

    assert Job.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert (one.variant_of, one.formats) == ("1" * 32, ("stl", "3mf", "ply"))
    assert one.file_name_in("3mf") == "a1.3mf"


@pytest.mark.parametrize("text", ["stl,3mf", '["stl", "3mf"]', "stl, 3mf"])
def test_formats_come_in_a_form_too(text: str) -> None:
    assert JobRequest(**GOOD, formats=text).all_formats == ("stl", "3mf")


def test_the_fields_of_a_variant_are_bound_as_those_of_a_job() -> None:
    of_job, of_variant = (kind.model_json_schema()["properties"] for kind in (JobRequest, VariantRequest))
    names = set(of_variant) - {"session_id", "asset_id"}

    assert {name: of_variant[name] for name in names} == {name: of_job[name] for name in names}
    assert names >= {"formats", *PRINT_FIELDS}
