"""The tables in docs/ that follow from code: settings, request fields, error codes, weights, rooms.

`make docs` writes them between their marks; `tests/unit/repository/test_docs.py` fails when one is stale.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ai_engine.api.request_schema import JobRequest
from ai_engine.errors import JobError, RequestRefused
from ai_engine.published_weights import FOLDERS, MATTING_MODELS, SHAPE_MODELS, HubOrigin, Weights
from ai_engine.settings import Settings
from ai_engine.webhooks.event_schema import WebhookEvent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_MARKED = re.compile(r"(?P<begin><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def table(head: str, rows: Iterator[str]) -> str:
    """A Markdown table with the columns that `head` names, separated by `|`."""
    names = [name.strip() for name in head.split("|")]
    lines = ("| " + " | ".join(names) + " |", "|---" * len(names) + "|", *rows)
    return "\n" + "\n".join(lines) + "\n\n"


def _row(*cells: str) -> str:
    """A row; a description of several lines is one, or it would end the table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _value(value: object) -> str:
    """A default as a table shows it."""
    if value is None or value == "":
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(str(item) for item in value)}`"
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    return f"`{value.get_secret_value() if isinstance(value, SecretStr) else value}`"


def settings_table() -> str:
    """Every environment variable with its default and its meaning."""
    fields = Settings.model_fields.items()
    return table(
        "variable | default | meaning",
        (_row(f"`{name.upper()}`", _value(field.default), field.description or "") for name, field in fields),
    )


def request_table() -> str:
    """Every field of `POST /generate-3d` with the values it takes, its default and its meaning."""
    schema = JobRequest.model_json_schema()

    def rows() -> Iterator[str]:
        for name, field in schema["properties"].items():
            is_needed = name in schema.get("required", ())
            default = "**required**" if is_needed else _json_default(field)
            yield _row(f"`{name}`", _kind(field, schema), default, field.get("description", ""))
            target = _referred(field)
            members = schema["$defs"][target].get("properties", {}) if target else {}
            for member, about in members.items():
                is_needed = member in schema["$defs"][target].get("required", ())
                shown = "**required**" if is_needed else _json_default(about)
                yield _row(f"`{name}.{member}`", _kind(about, schema), shown, about.get("description", ""))

    return table("field | values | default | meaning", rows())


def _json_default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The values that a field of a JSON schema takes, in words."""
    if "$ref" in field:
        return _kind(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    for kinds in (field.get("anyOf"), field.get("allOf")):
        if kinds:
            return " or ".join(_kind(kind, schema) for kind in kinds if kind.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "pattern" in field:
        return f"`{field['pattern']}`"
    words = {"string": "text", "boolean": "`true`, `false`", "integer": "whole number"}
    return f"{words.get(field['type'], field['type'])}{_bounds(field)}"


def _bounds(field: Mapping[str, Any]) -> str:
    if "maxLength" in field:
        return f" of {field.get('minLength', 0)} to {field['maxLength']} characters"
    if "minimum" in field and "maximum" in field:
        return f", {_number(field['minimum'])} to {_number(field['maximum'])}"
    return ""


def _number(value: float) -> str:
    return "2^63 - 1" if value == 2**63 - 1 else f"{value:,.10g}"


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _meaning(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def job_error_table() -> str:
    """Every code that a job can fail with."""
    kinds = list(_subclasses(JobError))
    assert len({kind.code for kind in kinds}) == len(kinds)
    return table(
        "`code` | usual stage | try again? | meaning",
        (
            _row(f"`{kind.code}`", str(kind.stage), "yes" if kind.retryable else "no", _meaning(kind))
            for kind in kinds
        ),
    )


def request_error_table() -> str:
    """Every code that a request can be refused with, by status."""

    def rows() -> Iterator[str]:
        seen: set[str] = set()
        for kind in sorted(_subclasses(RequestRefused), key=lambda kind: kind.status):
            if kind.code not in seen:
                yield _row(str(kind.status), f"`{kind.code}`", _meaning(kind))
            seen.add(kind.code)

    return table("status | `code` | meaning", rows())


def event_table() -> str:
    """Every member of a webhook's event that the API document describes."""
    schema = WebhookEvent.model_json_schema()

    def rows(properties: Mapping[str, Any], place: str) -> Iterator[str]:
        for name, field in properties.items():
            target = _referred(field)
            about = schema["$defs"][target] if target else field
            words = field.get("description") or about.get("description", "")
            yield _row(f"`{place}{name}`", words.partition("\n")[0])
            if target:
                yield from rows(about.get("properties", {}), f"{place}{name}.")

    return table("member | meaning", rows(schema["properties"], ""))


def _referred(field: Mapping[str, Any]) -> str | None:
    kinds = [field, *field.get("anyOf", ())]
    return next((kind["$ref"].rpartition("/")[2] for kind in kinds if "$ref" in kind), None)


def weights_table() -> str:
    """Every published model that `fetch-weights` knows, with its size and its licence."""

    def rows() -> Iterator[str]:
        for folder in FOLDERS.values():
            yield _weights_row(folder.name, folder.files)
        for weights in (*SHAPE_MODELS.values(), *MATTING_MODELS.values()):
            yield _weights_row(weights.name, (weights,))

    return table("name | from | size | licence", rows())


def _weights_row(name: str, files: Sequence[Weights]) -> str:
    origin, licence = files[0].origin, files[0].licence
    place = origin.repo if isinstance(origin, HubOrigin) else origin.rpartition("/")[2]
    sizes = [weights.size_bytes for weights in files]
    known = sum(size or 0 for size in sizes)
    size = "not recorded" if None in sizes else f"{known / 1e9:.2f} GB"
    return _row(f"`{name}`", f"`{place}`", size, f"[{licence.name}]({licence.url})")


def rooms_table(package: str) -> str:
    """The folders of a package, each with its own first sentence."""
    found = sorted((ROOT / package).glob("*/__init__.py"))
    return table(
        "folder | what is in it", (_row(f"`{file.parent.name}/`", _first_sentence(file)) for file in found)
    )


def _first_sentence(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")[0].replace("\n", " ")


def layers_block() -> str:
    """The layers of the import contract, highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["ai_engine"])
    return "\n```text\n" + "\n".join(layers) + "\n```\n\n"


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings_table,
    "request-fields": request_table,
    "job-errors": job_error_table,
    "request-errors": request_error_table,
    "event-members": event_table,
    "weights": weights_table,
    "rooms-ai-engine": lambda: rooms_table("ai_engine"),
    "rooms-hy3dgen": lambda: rooms_table("hy3dgen"),
    "layers": layers_block,
}


def marked(text: str) -> set[str]:
    """The names of the tables that a page has marks for."""
    return {found["name"] for found in _MARKED.finditer(text)}


def written(text: str) -> str:
    """The page with its tables as the code has them now."""
    return _MARKED.sub(lambda found: found["begin"] + TABLES[found["name"]]() + found["end"], text)


def main() -> None:
    """Writes the tables of every page in docs/."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        if written(text) != text:
            page.write_text(written(text))
            print(f"written: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
