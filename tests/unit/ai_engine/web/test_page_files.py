from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from starlette.requests import Request

from ai_engine.web.page_files import PageFile, files_in

TEXT = PageFile.of(b"text " * 100, ".txt")


def asking(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


def test_a_folder_gives_the_files_that_a_page_may_have(tmp_path: Path) -> None:
    for name in ("a.js", "b.css", "c.py", ".hidden"):
        (tmp_path / name).write_text(name)
    assert files_in(tmp_path).keys() == {"a.js", "b.css"}


def test_a_file_is_packed_for_who_takes_it() -> None:
    packed = TEXT.answer(asking(accept_encoding="br, gzip"))
    assert gzip.decompress(bytes(packed.body)) == TEXT.plain
    assert TEXT.answer(asking()).body == TEXT.plain


def test_a_picture_is_packed_already() -> None:
    assert PageFile.of(b"pixels", ".png").answer(asking(accept_encoding="gzip")).body == b"pixels"


@pytest.mark.parametrize("header", [TEXT.etag, f'"other", {TEXT.etag}'])
def test_who_has_the_file_gets_no_bytes(header: str) -> None:
    again = TEXT.answer(asking(if_none_match=header))
    assert (again.status_code, again.body) == (304, b"")
