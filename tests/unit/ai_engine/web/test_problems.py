"""Each error that leaves the API is a problem document (RFC 9457) with a stable code."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError

from ai_engine.errors import InvalidField, JobNotFound, QueueFull
from ai_engine.web.problems import MEDIA_TYPE, install_problem_handlers, problems


class Wanted(BaseModel, extra="forbid"):
    size: int


def raises(error: Exception) -> TestClient:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/thing")
    def thing() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


def problem_of(error: Exception) -> dict[str, Any]:
    answer = raises(error).get("/thing")
    body: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (body["status"], body["instance"]) == (answer.status_code, "/thing")
    assert body["type"] == f"urn:ai-engine:problem:{body['code']}"
    return body | {"headers": dict(answer.headers)}


def test_a_refusal_has_its_own_status_code_and_sentence() -> None:
    body = problem_of(JobNotFound("There is no job 7."))
    assert (body["status"], body["code"], body["detail"]) == (404, "not_found", "There is no job 7.")


def test_a_refusal_that_passes_says_when_to_come_again() -> None:
    assert problem_of(QueueFull("Full.", retry_after_s=7))["headers"]["retry-after"] == "7"


def test_a_field_that_is_wrong_is_named_with_its_code() -> None:
    body = problem_of(InvalidField("image_url", "leads inside", code="image_url_forbidden"))
    assert body["errors"] == [{"field": "image_url", "code": "image_url_forbidden", "detail": "leads inside"}]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"size": "many"}, "size", "int_parsing"),
        ({"size": 1, "sise": 2}, "sise", "unknown_field"),
        ({}, "size", "missing"),
    ],
)
def test_a_body_that_does_not_fit_names_each_field(body: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Wanted.model_validate(body)
    answer = problem_of(caught.value)
    assert (answer["status"], answer["code"]) == (422, InvalidField.code)
    assert [(one["field"], one["code"]) for one in answer["errors"]] == [(field, code)]


def test_a_database_that_is_away_is_a_reason_to_come_again_and_its_address_stays_here() -> None:
    body = problem_of(OperationalError("SELECT 1", {}, Exception("no route to db.internal")))
    assert (body["status"], body["code"]) == (503, "unavailable")
    assert int(body["headers"]["retry-after"]) >= 1
    assert "db.internal" not in str(body["detail"])


def test_errors_of_the_framework_have_the_same_form() -> None:
    assert problem_of(HTTPException(405))["status"] == 405
    answer = raises(JobNotFound("")).get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)


def test_the_api_document_shows_one_answer_per_status() -> None:
    described = problems(JobNotFound, QueueFull)
    assert {404, 429} <= set(described)
    assert all(MEDIA_TYPE in answer["content"] for answer in described.values())
