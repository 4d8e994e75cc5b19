from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from pydantic import TypeAdapter
from support.sample_job import print_facts

from ai_engine.facts import AdditionFacts, CostFacts, CutOutFacts, DecodeFacts, PrintFacts, SlicingFacts

CUT_OUT = CutOutFacts("isnet-general-use", 0.25, ("left", "top"), 2, ("touches_border",))
DECODE = DecodeFacts("strict", (96, 96, 96), 0.02, True, 12_345, ("odd sign",))
FACTS = [CUT_OUT, DECODE, print_facts(printers=("fdm", "resin"), warnings=("Thin.",))]
FACTS += [print_facts(costs=CostFacts({"pla": 1.5}, 0.5, ("prusa mk4",)))]
FACTS += [
    print_facts(
        slicing=SlicingFacts(
            *("PrusaSlicer 2.5.0", "ender-3", "pla", "standard", 12.5, 1.25, 0.1, 200, 1000, "0" * 64)
        )
    )
]
FACTS += [print_facts(additions=(AdditionFacts("hollow", -120.5, count=2, drains=2),))]


@pytest.mark.parametrize("facts", FACTS, ids=lambda one: type(one).__name__)
def test_facts_that_went_through_json_are_the_same_facts(facts: Any) -> None:
    again = type(facts).from_dict(json.loads(json.dumps(asdict(facts))))

    assert again == facts
    assert (
        hash(again) == hash(facts) if not isinstance(facts, PrintFacts) else again.printers == facts.printers
    )


@pytest.mark.parametrize("kind", [CutOutFacts, DecodeFacts, PrintFacts])
def test_each_field_that_a_name_does_not_explain_is_described_to_callers(kind: Any) -> None:
    fields = TypeAdapter(kind).json_schema()["properties"]
    silent = {name for name, field in fields.items() if not field.get("description")}

    assert silent <= {"mode", "triangles", "volume_cm3", "area_cm2", "printable"}


def test_decode_facts_of_a_version_without_warnings_have_none() -> None:
    fields = asdict(DECODE)
    del fields["warnings"]

    assert DecodeFacts.from_dict(fields).warnings == ()
