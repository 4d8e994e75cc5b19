"""The studio over HTTP.

`web_ui/` holds what `make studio` built from the source in the folder `studio/` at the top. Knows no jobs: the page
uses the API like any other caller.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from ai_engine.web.page_files import PageFile, files_in

FOLDER = Path(__file__).resolve().parents[1] / "web_ui"
PAGE, OPERATE_PAGE = "index.html", "operate.html"

router = APIRouter(include_in_schema=False)


@cache
def studio_files() -> dict[str, PageFile]:
    """The files of the page by name."""
    return files_in(FOLDER)


@router.head("/")
@router.get("/")
def get_page(request: Request) -> Response:
    """The studio."""
    return _answer(request, PAGE)


@router.head("/operate")
@router.get("/operate")
def get_operate_page(request: Request) -> Response:
    """The page for operators; what it shows needs a key of theirs."""
    return _answer(request, OPERATE_PAGE)


@router.head("/studio/{name}")
@router.get("/studio/{name}")
def get_file(name: str, request: Request) -> Response:
    """What the page is made of."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    file = studio_files().get(name)
    if file is None:
        raise HTTPException(404, "The studio has no such file.")
    return file.answer(request)
