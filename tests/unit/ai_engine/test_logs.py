from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from ai_engine.logs import about, event, set_up_logging, without_secrets

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


def test_what_callers_send_begins_no_line_of_its_own_and_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("text", "info", "api")

    event(logger, "request", path="/jobs/a\n2026 api forged\x1b[2J\ud800ü")

    assert capsys.readouterr().err.endswith(r"request path=/jobs/a\n2026 api forged\x1b[2J\ud800ü" + "\n")


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


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("GET https://a.example/x.png?sig=hunter2", "GET https://a.example/x.png?***"),
        ("https://user:hunter2@a.example:8/x", "https://***@a.example:8/x"),
        ("postgresql://engine:hunter2@db/jobs?sslmode=require", "postgresql://***@db/jobs?***"),
        ("to https://a.example/#hunter2, then", "to https://a.example/#*** then"),
        ("('http://a.example/?hunter2')", "('http://a.example/?***')"),
        ("data:image/png;base64,aHVudGVyMmh1bnRlcjI=", "data:image/png;base64,***"),
        ("is it 1 ? 2", "is it 1 ? 2"),
        ("https://a.example/x.png", "https://a.example/x.png"),
    ],
)
def test_of_a_url_a_line_tells_only_where_it_leads(said: str, told: str) -> None:
    assert without_secrets(said) == told


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_line_holds_a_secret_in_its_message_its_facts_or_its_stack(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "text"]
) -> None:
    set_up_logging(log_format, "info", "worker", ["hunter2"])

    try:
        raise RuntimeError("can't reach https://a.example/?key=hunter3 with hunter2")
    except RuntimeError as error:
        logger.exception("broke: %s", error, extra={"event_fields": {"url": "http://x/?hunter3", "e": error}})

    printed = capsys.readouterr().err
    assert "https://a.example/?***" in printed
    assert not [secret for secret in ("hunter2", "hunter3") if secret in printed]


def test_inside_a_job_every_line_names_it_and_outside_none(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", "info", "worker")

    with about(job_id="j1"):
        logging.getLogger("some.library").warning("hm")
        with about(stage="cutout"):
            event(logger, "deeper")
    logger.info("after")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line.get("job_id"), line.get("stage")) for line in lines] == [
        ("j1", None),
        ("j1", "cutout"),
        (None, None),
    ]


def test_what_is_no_terminal_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("auto", "info", "api")

    event(logger, "job accepted")

    assert json.loads(capsys.readouterr().err)["message"] == "job accepted"
