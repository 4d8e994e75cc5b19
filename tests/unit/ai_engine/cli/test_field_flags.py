from __future__ import annotations

import argparse
from typing import Any

import pytest

from ai_engine.api.request_schema import JobRequest
from ai_engine.cli.field_flags import FINISH_FIELDS, GENERATE_FIELDS, add_field_flags, fields_of


def parsed(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_field_flags(parser, GENERATE_FIELDS)
    return fields_of(parser.parse_args(arguments), GENERATE_FIELDS)


def test_only_flags_that_were_given_are_fields() -> None:
    assert parsed() == {}
    given = parsed("--height-mm", "80", "--flat-base", "--quality", "draft", "--seed", "7")
    assert given == {"height_mm": "80", "flat_base": True, "quality": "draft", "seed": "7"}
    request = JobRequest(session_id="s", asset_id="a", **given)
    assert (request.height_mm, request.seed, request.flat_base) == (80.0, 7, True)


def test_a_switch_can_be_turned_off() -> None:
    assert parsed("--no-flat-base") == {"flat_base": False}


@pytest.mark.parametrize("arguments", [["--quality", "best"], ["--height"], ["--nonsense", "1"]])
def test_what_the_schema_does_not_know_is_no_flag(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2


def test_the_help_has_descriptions_bounds_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "Cells per side; wins over quality. 32 to 1024." in said
    assert "Default: standard." in said


def test_the_flags_of_finish_are_flags_of_generate() -> None:
    assert set(FINISH_FIELDS) <= set(GENERATE_FIELDS)
