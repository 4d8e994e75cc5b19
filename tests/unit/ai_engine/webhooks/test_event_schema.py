"""The event's schema says all that an event carries, in types."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from support.sample_job import job, print_facts

from ai_engine.facts import DecodeFacts, MeshFacts, PrintFacts
from ai_engine.job import Artifact, JobOptions
from ai_engine.stage_result import JobResult, UsedOptions
from ai_engine.webhooks.event import JobEvent, artifact_facts
from ai_engine.webhooks.event_schema import OptionsFacts, WebhookEvent
from ai_engine.wishes.print_options import PrintOptions

MESH = MeshFacts("stl", 12, "mm", (1.0, 2.0, 3.0), print_facts())
FILE, PREVIEW = Artifact("x/mesh.stl", "ab" * 32, 684), Artifact("x/preview.png", "cd" * 32, 99)
OPTIONS = UsedOptions(JobOptions(seed=7), PrintOptions(height_mm=3.0))
RESULT = JobResult({"denoise": 1.5}, OPTIONS, {"id": "m", "licence": "l"}, FILE, PREVIEW, mesh=MESH)


def test_the_options_of_the_schema_are_those_of_a_job() -> None:
    options = {field.name for kind in (JobOptions, PrintOptions) for field in fields(kind)}

    assert set(OptionsFacts.model_fields) == options | {"degraded"}


def test_an_event_is_read_by_its_schema_and_nothing_is_left_over() -> None:
    event = WebhookEvent.model_validate_json(JobEvent.of(job(), RESULT, 0.0).to_json())

    assert event.model_extra == event.data.model_extra == {}
    assert event.data.print == MESH.print
    assert event.data.options is not None
    assert (event.data.options.seed, event.data.options.model_extra) == (7, {})
    assert event.data.artifact == artifact_facts(job(asset_id="a1"), RESULT)


def test_no_member_of_the_schema_is_without_a_type() -> None:
    schema = WebhookEvent.model_json_schema()

    untyped = [
        f"{kind}.{name}"
        for kind, about in schema["$defs"].items()
        for name, field in about.get("properties", {}).items()
        if not _is_typed(field)
    ]

    assert untyped == []


def _is_typed(field: dict[str, Any]) -> bool:
    if "anyOf" in field:
        return all(_is_typed(one) for one in field["anyOf"])
    is_open = field.get("type") == "object" and not isinstance(field.get("additionalProperties"), dict)
    return ("type" in field or "$ref" in field or "enum" in field) and not is_open


def test_print_facts_come_back_from_json_as_they_were() -> None:
    facts = print_facts(warnings=("one",), printers=("fdm",))

    assert PrintFacts.from_dict(json.loads(json.dumps(asdict(facts)))) == facts


def test_decode_facts_say_in_the_schema_what_each_member_means() -> None:
    from pydantic import TypeAdapter

    properties = TypeAdapter(DecodeFacts).json_schema()["properties"]

    assert properties["num_queries"]["description"] == "Points asked of the field."
