"""`/generate`, `/send` and `/status/{uid}` as the API server of Hunyuan3D-2 serves them to its Blender add-on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ai_engine.api.file_routes import mesh_answer
from ai_engine.compatible.asked import Asked, answering, as_picture_url
from ai_engine.errors import FileExpired, InvalidField
from ai_engine.job import Job
from ai_engine.job_queue.records import JobSummary

SESSION = "hunyuan3d"
"""`session_id` of the jobs that come this way."""
SEED = 1234
"""Where a request names none, as there."""
TAKEN = ("num_inference_steps", "guidance_scale", "octree_resolution", "num_chunks")
"""Fields that mean here what they mean there."""
VIEW_FIELDS = {"left": "image_left", "back": "image_back", "right": "image_right"}
TEXTURES = "this service makes no textures: send texture false"
TEXT = "a mesh is made of a picture here, not of text: send image"


async def generate(asked: Asked) -> Response:
    """Makes a mesh while the caller waits."""
    job = await _submit(asked)
    known = await asked.wait_until_over(job.job_id)
    if known.result is not None and known.result.failure is not None:
        failure = known.result.failure
        status = 500 if failure.retryable else 422
        return _refuse({"detail": failure.detail, "code": failure.code}, status, {})
    return await run_in_threadpool(mesh_answer, asked.request, asked.service, known)


async def send(asked: Asked) -> Response:
    """Queues a job."""
    job = await _submit(asked)
    return JSONResponse({"uid": job.job_id})


async def get_status(asked: Asked) -> Response:
    """How a job stands; with its mesh when it is there."""
    known = await asked.summary()
    return JSONResponse(await run_in_threadpool(_status, asked, known))


def routes() -> list[Route]:
    """The routes of this module."""
    return [
        Route("/generate", answering(generate, _refuse), methods=["POST"]),
        Route("/send", answering(send, _refuse), methods=["POST"]),
        Route("/status/{job_id}", answering(get_status, _refuse), methods=["GET"]),
    ]


async def _submit(asked: Asked) -> Job:
    async with asked.body() as body:
        picture = next((part for name, part in body.files if name == "image"), None)
        return await asked.submit(_fields(body.fields, has_file=picture is not None), picture)


def _fields(said: Mapping[str, Any], *, has_file: bool = False) -> dict[str, Any]:
    """The fields of `JobRequest` that a request asks for.

    Raises:
        InvalidField: it asks for what is not made here, or brings no picture.
    """
    if said.get("texture") in (True, "true", "True"):
        raise InvalidField("texture", TEXTURES, code="unsupported")
    if said.get("mesh"):
        raise InvalidField("mesh", TEXTURES, code="unsupported")
    if said.get("text") and not said.get("image") and not has_file:
        raise InvalidField("text", TEXT, code="unsupported")
    fields: dict[str, Any] = {name: said[name] for name in TAKEN if said.get(name) is not None}
    fields |= {"session_id": SESSION, "asset_id": "mesh", "format": said.get("type") or "glb"}
    fields["seed"] = SEED if said.get("seed") is None else said["seed"]
    if said.get("remove_background") in (False, "false", "False"):
        fields["remove_background"] = "never"
    return fields if has_file else fields | _pictures(said)


def _pictures(said: Mapping[str, Any]) -> dict[str, Any]:
    """The picture, or the pictures by the side they show."""
    front = as_picture_url(said.get("image"), "image")
    others = {view: as_picture_url(said[name], name) for view, name in VIEW_FIELDS.items() if said.get(name)}
    return {"image_urls": {"front": front} | others} if others else {"image_url": front}


def _status(asked: Asked, known: JobSummary) -> dict[str, Any]:
    """The answer of `/status`: a failure is `error` with its sentence, which that server's callers take as the end."""
    if known.result is None:
        return {"status": "processing"}
    if known.result.artifact is None:
        failure = known.result.failure
        said = {"message": failure.detail, "code": failure.code} if failure else {}
        return {"status": "error", **said}
    try:
        data = b"".join(asked.service.store.read(known.result.artifact))
    except FileNotFoundError as error:
        raise FileExpired("The file is no longer kept.") from error
    return {"status": "completed", "model_base64": base64.b64encode(data).decode()}


def _refuse(problem: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    """A problem in the form of that server's errors, whose status is 404 whatever happened; here it says what."""
    body = {"text": problem["detail"], "error_code": 1, "code": problem["code"]}
    return JSONResponse(body, status, dict(headers))
