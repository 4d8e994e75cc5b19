"""The README tells the truth about settings and routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from ai_engine.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


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
def test_the_readme_has_every_setting_with_its_default_and_meaning(name: str) -> None:
    assert row(name) in README


def test_the_readme_has_no_setting_that_is_not_there() -> None:
    table = README.split("## Settings")[1].split("\n## ")[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == {name.upper() for name in Settings.model_fields}
