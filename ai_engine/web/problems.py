"""Errors as RFC 9457 `application/problem+json`: every answer that is not a success has this form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from ai_engine.errors import InvalidField, NotReady, RequestRefused
from ai_engine.web.middleware import OWNER

MEDIA_TYPE = "application/problem+json"
DATABASE_RETRY_AFTER_S = 5
_CODES = {404: "not_found", 405: "method_not_allowed", 500: "internal"}
_HEADERS = {
    401: {"WWW-Authenticate": 'Bearer realm="ai-engine"'},
    # The rest of the body is not read: nothing else can come over this connection.
    408: {"Connection": "close"},
    413: {"Connection": "close"},
}

_OUTER = {("query",), ("path",), ("header",), ("body",)}
"""Where FastAPI says that a parameter stands; its name alone is enough."""

_RETRY_LATER = {429, 503}

logger = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    code: str
    detail: str


class Problem(BaseModel):
    """An answer that is not a success, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem] | None = None


def problems(*kinds: type[RequestRefused]) -> dict[int | str, dict[str, Any]]:
    """What the API document says of a route that may refuse in these ways."""
    answers: dict[int | str, dict[str, Any]] = {500: _describe("Our own bug.", {"internal": _example()})}
    for status in sorted({kind.status for kind in kinds}):
        found = [kind for kind in kinds if kind.status == status]
        words = "; ".join(f"`{kind.code}`: {(kind.__doc__ or '').partition(chr(10))[0]}" for kind in found)
        answers[status] = _describe(words, {kind.code: _example(kind) for kind in found})
        if status in _RETRY_LATER:
            answers[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return answers


def _describe(words: str, examples: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    shown = {code: {"value": example} for code, example in examples.items()}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema, "examples": shown}}}


def _example(kind: type[RequestRefused] = RequestRefused) -> dict[str, Any]:
    title = "Something went wrong on our side" if kind is RequestRefused else kind.title
    example = Problem(
        type=f"urn:ai-engine:problem:{kind.code}",
        title=title,
        status=kind.status,
        detail=f"{title}.",
        instance="/jobs/5f2b7c0e9d1a4b3c8e6f7a8b9c0d1e2f",
        code=kind.code,
    ).model_dump(exclude_none=True)
    field = {"field": "quality", "code": "literal_error", "detail": "Input should be 'draft', ..."}
    return example | ({"errors": [field]} if kind is InvalidField else {})


def problem(
    request: Request,
    status: int,
    *,
    code: str,
    title: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """One problem as an answer."""
    body: dict[str, Any] = {
        "type": f"urn:ai-engine:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
    }
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Makes `app` answer all its errors in this form."""
    for kind, answer in _answers().items():
        app.add_exception_handler(kind, answer)


def problem_of(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that met `error`; raises it again where it is none that is answered."""
    for kind, answer in _answers().items():
        if isinstance(error, kind):
            return answer(request, error)
    raise error


def _answers() -> dict[type[Exception], Callable[[Request, Exception], JSONResponse]]:
    return {
        RequestRefused: _answer_refusal,
        ValidationError: _answer_invalid,
        RequestValidationError: _answer_invalid,
        HTTPException: _answer_http,
        OperationalError: _answer_no_database,
        InterfaceError: _answer_no_database,
    }


def answer_fault(request: Request) -> JSONResponse:
    """The answer to a request that met a bug of ours."""
    return problem(
        request,
        500,
        code="internal",
        title="Something went wrong on our side",
        detail="The log of the service has the details.",
    )


def answer_overload(request: Request) -> JSONResponse:
    """The answer to one request too many at once."""
    error = NotReady("The service answers as many requests at once as it can.", retry_after_s=1)
    return _answer_refusal(request, error)


def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestRefused)
    if error.status in _RETRY_LATER and (access := getattr(request.app.state, "access", None)):
        access.refusals.note(request.scope.get(OWNER), error.code)
    headers = dict(_HEADERS.get(error.status, {}))
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    errors = None
    if isinstance(error, InvalidField):
        errors = [{"field": error.field, "code": error.field_code, "detail": error.detail}]
    return problem(
        request,
        error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        errors=errors,
        headers=headers,
    )


def _answer_no_database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OperationalError | InterfaceError)
    logger.warning("the job database does not answer: %s", str(error.orig).strip().partition("\n")[0])
    return _answer_refusal(
        request, NotReady("The job database does not answer.", retry_after_s=DATABASE_RETRY_AFTER_S)
    )


def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ValidationError | RequestValidationError)
    found = error.errors() if isinstance(error, RequestValidationError) else error.errors(include_url=False)
    errors = [_field_error(one) for one in found]
    detail = "; ".join(f"{found['field']}: {found['detail']}" for found in errors)
    return problem(
        request, 422, code=InvalidField.code, title=InvalidField.title, detail=detail, errors=errors
    )


def _field_error(found: ErrorDetails | dict[str, Any]) -> dict[str, str]:
    place = found["loc"][1:] if found["loc"][:1] in _OUTER else found["loc"]
    field = ".".join(str(part) for part in place) or "body"
    if found["type"] == "extra_forbidden":
        return {"field": field, "code": "unknown_field", "detail": "there is no field of this name"}
    if found["type"] == "json_invalid":
        return {"field": "body", "code": "json_invalid", "detail": "the body is not valid JSON"}
    return {"field": field, "code": found["type"], "detail": found["msg"]}


def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's own, for a body that is no text at all.
        return _answer_refusal(
            request, InvalidField("body", "the body is not valid JSON", code="json_invalid")
        )
    title = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, title.lower().replace(" ", "_"))
    headers = dict(error.headers) if error.headers else None
    return problem(
        request, error.status_code, code=code, title=title, detail=str(error.detail), headers=headers
    )
