from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from ai_engine.telemetry import event, set_up_logging

logger = logging.getLogger("test")


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_line_of_json_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", "info", "worker")

    event(logger, "stage finished", job_id="j1", seconds=0.5, status=None)

    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["process"], line["level"]) == ("stage finished", "worker", "info")
    assert (line["job_id"], line["seconds"]) == ("j1", 0.5)
    assert "status" not in line


def test_a_person_reads_the_same_facts_after_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text", "info", "api")

    event(logger, "job accepted", job_id="j1")

    assert capsys.readouterr().err.endswith("api    job accepted job_id=j1\n")


def test_an_exception_comes_with_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", "info", "worker")

    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logger.exception("stage broke", extra={"event_fields": {"job_id": "j1"}})

    line = json.loads(capsys.readouterr().err)
    assert "RuntimeError: broken" in line["exception"]
    assert line["job_id"] == "j1"


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text", "warning", "api")

    event(logger, "job accepted")

    assert capsys.readouterr().err == ""
