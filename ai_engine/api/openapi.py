"""The API document, OpenAPI 3.1: what FastAPI knows of the routes, and what it can't: bodies, problems, webhooks."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ai_engine.api.request_schema import CutOutRequest, JobRequest, MeshCheckRequest, VariantRequest
from ai_engine.api.submissions.form_parts import MASK_PART, MESH_PART, PICTURE_PART
from ai_engine.facts import MEDIA_TYPES, VIEWS
from ai_engine.settings import Settings
from ai_engine.web.problems import MEDIA_TYPE as PROBLEM_TYPE
from ai_engine.web.problems import Problem
from ai_engine.webhooks.event_schema import WebhookEvent

DESCRIPTION = (
    "A picture in, a printable mesh at your webhook. Errors are `application/problem+json` (RFC 9457), whatever the "
    "route; `code` is stable."
)
_REF = "#/components/schemas/"
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {
    "session_id": "s1",
    "asset_id": "a1",
    "image_url": "https://example.com/chair.png",
    "webhook_url": "https://example.com/webhook",
}
_VIEWS = {"image_urls": {view: f"https://example.com/{view}.png" for view in ("front", "left")}}
Json = dict[str, Any]
EXAMPLES = {
    "the least": {"value": {**_EXAMPLE, "webhook_url": None}},
    "for a printer": {"value": {**_EXAMPLE, "height_mm": 100, "format": "3mf"}},
    "several views": {
        "value": {name: value for name, value in _EXAMPLE.items() if name != "image_url"} | _VIEWS
    },
}
CUT_OUT_EXAMPLES = {"the least": {"value": {"image_url": _EXAMPLE["image_url"]}}}
MESH_EXAMPLES = {
    "the least": {
        "value": {"session_id": "s1", "asset_id": "part", "mesh_url": "https://example.com/part.stl"}
    }
}
VARIANT_EXAMPLES = {
    "two files and a base": {"value": {"formats": ["3mf", "stl"], "height_mm": 120, "base": {"text": "Ada"}}}
}
_BODIES = (JobRequest, CutOutRequest, MeshCheckRequest, VariantRequest)
"""Of routes that take JSON or a form."""
_OF_FORM = "What a caller asks for, as the parts of a form."


def install_document(app: FastAPI, settings: Settings) -> None:
    """Makes `app` serve this document at /openapi.json."""

    def document() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, settings)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI says to do it


def submission_body(kind: type[BaseModel], examples: Json) -> Json:
    """The two bodies that a route takes whose fields are those of `kind`: JSON, and a form that may have files."""
    fields, encoding, files = kind.model_fields, {}, ""
    if "mesh_url" in fields:
        encoding = {MESH_PART: {"contentType": "model/*, application/octet-stream"}}
        files = ", and the mesh itself as a file"
    elif "image_url" in fields:
        views = VIEWS if "image_urls" in fields else ()
        encoding = {part: {"contentType": "image/*"} for part in (PICTURE_PART, MASK_PART, *views)}
        files = ", and the picture itself, and its mask, as files"
    form = {
        "allOf": [{"$ref": f"{_REF}{kind.__name__}Form"}],
        "description": f"The same fields as parts{files}.",
    }
    json_body = {"schema": {"$ref": f"{_REF}{kind.__name__}"}, "examples": examples}
    content = {"application/json": json_body, "multipart/form-data": {"schema": form, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}


def file_answers(*media_types: str) -> dict[int | str, Json]:
    """What a route that answers with a file of one of these types says besides its problems."""
    content = {kind: {"schema": _BINARY} for kind in media_types}
    etag = {"ETag": {"schema": {"type": "string"}, "description": "The file's sha256."}}
    return {
        200: {"description": "The file.", "content": content, "headers": etag},
        206: {"description": "The part that Range names.", "content": content, "headers": etag},
        304: {"description": "If-None-Match names the file."},
        416: {
            "description": "The file has no such part.",
            "content": {PROBLEM_TYPE: {"schema": {"$ref": f"{_REF}{Problem.__name__}"}}},
        },
    }


def event_stream() -> dict[int | str, Json]:
    """What a route says that answers with server-sent events."""
    example = 'id: 3\nevent: progress\ndata: {"stage": "denoise", "done": 2, "total": 10}\n\n'
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": "Events until the job has ended; then one called done.", "content": content}}


def _document(app: FastAPI, settings: Settings) -> Json:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            _drop_fastapi_errors(operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= _schemas(*_BODIES, Problem, WebhookEvent)
    for name in (body.__name__ for body in _BODIES):
        schemas[f"{name}Form"] = _form_schema(schemas[name])
        schemas[name] = _json_schema(schemas[name])
    document["webhooks"] = {
        kind: _webhook(kind, words, _answers(settings)) for kind, words in _WEBHOOKS.items()
    }
    return document


def _drop_fastapi_errors(operation: Json) -> None:
    """Takes the answer out that FastAPI would give to bad parameters: ours are problems."""
    if "application/json" in operation["responses"].get("422", {}).get("content", {}):
        del operation["responses"]["422"]


def _schemas(*models: type[BaseModel]) -> Json:
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF + "{model}")
    defs: Json = found["$defs"]
    return defs


def _json_schema(request: Json) -> Json:
    """The fields as JSON has them: a picture is needed, and null stands for an optional field left out."""
    needed = request.get("required", [])
    optional = {
        name: field if name in needed else _or_null(field) for name, field in request["properties"].items()
    }
    pictures = _ways(request)
    one_of = {"oneOf": [{"required": [way]} for way in pictures]} if pictures else {}
    return {**request, "properties": optional | pictures, **one_of}


def _ways(request: Json) -> dict[str, Json]:
    """The fields that a picture can come by, as they are where they do."""
    fields = request["properties"]
    names = ("image_url", "cut_out_id", "image_urls", "mesh_url")
    return {name: _without_null(fields[name]) for name in names if name in fields}


def _or_null(field: Json) -> Json:
    if any(one.get("type") == "null" for one in field.get("anyOf", [])):
        return field
    about: Json = {
        name: field[name] for name in ("default", "description", "title", "examples") if name in field
    }
    value = {name: rule for name, rule in field.items() if name not in about}
    return {"anyOf": [value, {"type": "null"}], **about}


def _without_null(field: Json) -> Json:
    (value,) = (one for one in field["anyOf"] if one.get("type") != "null")
    return {name: rule for name, rule in field.items() if name not in ("anyOf", "default")} | value


def _form_schema(request: Json) -> Json:
    """The fields as a form has them: one of the picture's ways is needed."""
    picture = {**_BINARY, "description": "The picture: PNG, JPEG, WebP or AVIF."}
    mask = {**_BINARY, "description": "The caller's own mask, as `mask_url` has it."}
    if not _ways(request):
        return {**request, "description": _OF_FORM}
    if "mesh_url" in request["properties"]:
        return _mesh_form_schema(request)
    ways = _ways(request) | {PICTURE_PART: picture}
    views = {view: {**picture, "description": f"The object's {view}."} for view in VIEWS}
    if "image_urls" not in ways:
        views = {}
    each: list[Json] = [{"required": [way]} for way in ways]
    if views:
        each.append({"anyOf": [{"required": [view]} for view in views]})
    return {
        **request,
        "description": _OF_FORM,
        "properties": {**request["properties"], MASK_PART: mask, **ways, **views},
        "oneOf": each,
    }


def _mesh_form_schema(request: Json) -> Json:
    ways = _ways(request) | {MESH_PART: {**_BINARY, "description": "The mesh: STL, 3MF, OBJ, PLY or GLB."}}
    return {
        **request,
        "description": _OF_FORM,
        "properties": request["properties"] | ways,
        "oneOf": [{"required": [way]} for way in ways],
    }


_WEBHOOKS = {
    "generation.succeeded": "The mesh is there.",
    "generation.failed": "The job ended without a mesh; `error` says why.",
    "generation.cancelled": "The job was stopped.",
    "webhook.test": "Sent by `python main.py webhook-test URL`.",
}
_HEADERS = {
    "webhook-id": "The same on every attempt: what was seen before can be dropped.",
    "webhook-timestamp": "Of this attempt, in seconds since 1970.",
    "webhook-signature": "By Standard Webhooks: `v1,` and the HMAC-SHA256 of `id.timestamp.event`; two, space apart, "
    "while a secret rotates. Absent where no secret is set.",
    "X-Delivery-Attempt": "Counted from 1.",
    "X-Delivery-Fallback": "payload_too_large or max_inline_bytes: why a link comes in place of the file; "
    "upload_failed: why the file comes, or a link to it, though the request named an upload_url.",
    "traceparent": "W3C trace context.",
}
_BINARY_HEADERS = {
    "X-Generation-Event": "In the binary form: the event, which is what is signed.",
    "Content-Digest": "In the binary form: the file's sha256, RFC 9530.",
}
_ANSWERS = {
    "2XX": "Accepted.",
    "410": "Never again.",
    "413": "Too large: a link follows where PUBLIC_URL is set.",
}


def _answers(settings: Settings) -> dict[str, str]:
    """What each answer of a receiver does, with the retry schedule of this service."""
    longest = _duration(settings.webhook_max_retry_after_s)
    later = ", ".join(_duration(delay_s) for delay_s in settings.webhook_delays_s[1:])
    again = f"Tried again, each time after: {later}." if later else "Not tried again."
    return _ANSWERS | {
        "429": f"Busy; Retry-After is obeyed, up to {longest}. So with 503.",
        "default": f"{again} Redirects are not followed.",
    }


def _duration(seconds: float) -> str:
    for unit, size_s in (("h", 3600), ("min", 60)):
        if seconds >= size_s and seconds % size_s == 0:
            return f"{seconds / size_s:g} {unit}"
    return f"{seconds:g} s"


def _webhook(kind: str, words: str, answers: dict[str, str]) -> Json:
    has_file = kind in ("generation.succeeded", "webhook.test")
    headers = _HEADERS | (_BINARY_HEADERS if has_file else {})
    event = {"schema": {"$ref": f"{_REF}{WebhookEvent.__name__}"}}
    content = {"multipart/form-data": {"schema": _parts(kind, has_file=has_file)}, "application/json": event}
    files = sorted(set(MEDIA_TYPES.values())) if has_file else []
    return {
        "post": {
            "summary": kind,
            "description": words,
            "operationId": kind.replace(".", "_"),
            "parameters": [
                {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}
                for name, about in headers.items()
            ],
            "requestBody": {
                "required": True,
                "content": content | {kind: {"schema": _BINARY} for kind in files},
            },
            "responses": {status: {"description": about} for status, about in answers.items()},
        }
    }


def _parts(kind: str, *, has_file: bool) -> Json:
    """The parts of the multipart form."""
    text = {"type": "string"}
    names = ["session_id", "asset_id", "status", *([] if has_file else ["error", "code"]), "job_id"]
    parts = dict.fromkeys(names, text)
    parts["event"] = {**text, "description": "The JSON of a WebhookEvent, which is what is signed."}
    if has_file:
        parts["file"] = {**_BINARY, "description": "Called <asset_id>.stl, or as the format is."}
    return {"type": "object", "properties": parts, "required": list(parts), "title": f"{kind} as a form"}
