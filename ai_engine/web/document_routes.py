"""The API for people and for assistants: Swagger UI at /docs, its files from this package's own; and /llms.txt."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from ai_engine.web.page_files import PageFile, files_in

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AI Engine API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#page", deepLinking: true, filter: true, persistAuthorization: true,
  displayRequestDuration: true,
});
"""
FOR_ASSISTANTS = Path(__file__).with_name("llms.txt")

router = APIRouter(include_in_schema=False)


@cache
def _files() -> dict[str, PageFile]:
    """The files of the page, by name."""
    with resources.as_file(resources.files("fastapi_swagger.resources")) as folder:
        return files_in(Path(folder)) | {"start.js": PageFile.of(_START.encode(), ".js")}


@router.head("/docs")
@router.get("/docs")
def get_docs(request: Request) -> Response:
    """The API as a page on which it can be tried."""
    return PageFile.of(_PAGE.encode(), ".html").answer(request)


@router.head("/docs/{name}")
@router.get("/docs/{name}")
def get_docs_file(name: str, request: Request) -> Response:
    """What the page is made of."""
    file = _files().get(name)
    if file is None:
        raise HTTPException(404, "The page has no such file.")
    return file.answer(request)


@router.head("/llms.txt")
@router.get("/llms.txt")
def get_llms_txt(request: Request) -> Response:
    """How to use the API, in a page of text."""
    return PageFile.of(FOR_ASSISTANTS.read_bytes(), ".txt").answer(request)
