"""What is written about settings and routes is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from ai_engine.api.app import create_app
from ai_engine.settings import Settings

ROOT = Path(__file__).parents[3]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
README = (ROOT / "README.md").read_text()


def shown(default: object) -> str:
    """A default as the table shows it."""
    if default is None or default == "":
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(str(item) for item in default)}`"
    if isinstance(default, bool):
        return "`1`" if default else "`0`"
    return f"`{default.get_secret_value() if isinstance(default, SecretStr) else default}`"


def row(name: str) -> str:
    field = Settings.model_fields[name]
    return f"| `{name.upper()}` | {shown(field.default)} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_there_with_its_default_and_meaning(name: str) -> None:
    assert row(name) in SETTINGS.splitlines()


def test_no_setting_is_told_of_that_is_not_there() -> None:
    known = {name.upper() for name in Settings.model_fields}
    table = [line.split("`")[1] for line in SETTINGS.splitlines() if line.startswith("| `")]
    assert sorted(table) == sorted(known)
    first = README.split("## Settings")[1].split("\n## ")[0]
    assert set(re.findall(r"`([A-Z_]+)`", first)) <= known


def test_every_route_that_the_readme_names_is_there() -> None:
    paths = set(create_app(Settings()).openapi()["paths"])
    told = re.findall(r"`(?:GET|POST|DELETE) (/[^`?]*)", README)
    unknown = [path for path in told if path.replace("{id}", "{job_id}") not in paths]
    assert told
    assert unknown == []


def test_every_page_and_chapter_that_a_docstring_of_the_model_cites_is_there() -> None:
    sources = [file.read_text() for file in (ROOT / "hy3dgen").rglob("*.py")]
    cited = [
        found
        for text in sources
        for found in re.findall(r"docs/([a-z-]+\.md), ([A-Z][a-z]+(?: [a-z]+)?)", text)
    ]
    assert cited
    for page, chapter in cited:
        assert f"\n## {chapter}\n" in (ROOT / "docs" / page).read_text(), (page, chapter)
