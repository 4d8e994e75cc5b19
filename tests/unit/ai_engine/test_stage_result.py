"""Results of stages as the job engine keeps them, also those that an earlier version wrote."""

from __future__ import annotations

import json
from dataclasses import asdict

from ai_engine.facts import CutOutFacts, DecodeFacts
from ai_engine.job import Artifact, JobOptions
from ai_engine.stage_result import JobResult, StageResult, UsedOptions
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions

FILE = Artifact("uri", "0" * 64, 5)
FACTS = DecodeFacts("strict", (32, 32, 32), 0.05, True, 1000)


def test_a_result_comes_back_from_plain_values_as_it_was() -> None:
    result = StageResult(FILE, {"denoise": 1.5, "decode": 0.5}, FACTS, ("num_chunks 2048",), FILE)

    assert StageResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_g_code_comes_back_as_it_was_and_was_not_there_before() -> None:
    result, ended = StageResult(FILE, {}, gcode=FILE), JobResult(gcode=FILE)

    assert StageResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert JobResult.from_dict(json.loads(json.dumps(ended.to_dict()))) == ended
    earlier = {name: value for name, value in ended.to_dict().items() if name != "gcode"}
    assert JobResult.from_dict(earlier).gcode is None


def test_facts_of_a_cutout_come_back_as_they_were() -> None:
    cutout = CutOutFacts("tiny", 0.5, ("left", "top"), 2, ("touches_border", "soft"))
    result = StageResult(FILE, {"cutout": 1.5}, cutout=cutout)

    assert StageResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_stage_that_the_version_before_finished_is_read() -> None:
    picture = {"artifact": asdict(FILE), "seconds": {"download": 0.25}}
    shape = {
        "artifact": asdict(FILE),
        "seconds": {"denoise": 1.5, "decode": 0.5},
        "decode": json.loads(json.dumps(asdict(FACTS))),
        "degraded": [],
    }

    assert StageResult.from_dict(picture) == StageResult(FILE, {"download": 0.25})
    assert StageResult.from_dict(shape) == StageResult(FILE, {"denoise": 1.5, "decode": 0.5}, FACTS)


def test_options_come_back_from_plain_values_as_they_were() -> None:
    used = UsedOptions(
        JobOptions(seed=7, num_inference_steps=5),
        PrintOptions(60.0, base=Base(text="Ada")),
        ("num_chunks 2048",),
    )

    assert JobResult.from_dict(json.loads(json.dumps(JobResult(options=used).to_dict()))).options == used


def test_options_that_the_version_before_wrote_are_read() -> None:
    ended = JobResult().to_dict()

    assert JobResult.from_dict(ended | {"options": {"seed": 7}}).options == UsedOptions(JobOptions(seed=7))
    assert JobResult.from_dict(ended | {"options": {}}).options is None


def test_files_in_further_formats_come_back_and_an_earlier_version_had_none() -> None:
    result = StageResult(FILE, {"finish": 1.5}, more_files={"3mf": FILE})
    plain = json.loads(json.dumps(result.to_dict()))

    assert StageResult.from_dict(plain) == result
    del plain["more_files"]
    assert StageResult.from_dict(plain).more_files == {}
