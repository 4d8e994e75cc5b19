"""Command line flags from the fields of a request: `--octree-resolution`, `--height-mm`, and all others."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ai_engine.api.request_schema import JobRequest
from ai_engine.engine.engine import ENGINE_FIELDS, PRINT_FIELDS

GENERATE_FIELDS, FINISH_FIELDS = ENGINE_FIELDS, PRINT_FIELDS


def add_field_flags(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """One flag for each of these fields of a request, with its description, choices and bounds."""
    properties = JobRequest.model_json_schema()["properties"]
    group = parser.add_argument_group("options of the mesh, as in the API")
    for name in names:
        flag, about = f"--{name.replace('_', '-')}", _help(properties[name])
        kind = _kind(properties[name])
        if kind.get("type") == "boolean":
            group.add_argument(
                flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=about
            )
        elif "enum" in kind:
            group.add_argument(flag, dest=name, choices=kind["enum"], help=about)
        else:
            group.add_argument(flag, dest=name, metavar=_metavar(kind), help=about)


def fields_of(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The fields whose flags were given, as a request has them.

    Raises:
        ValueError: a flag that takes JSON has something else.
    """
    properties = JobRequest.model_json_schema()["properties"]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return {name: _value(value, properties[name], name) for name, value in given.items()}


def _value(value: Any, schema: Mapping[str, Any], name: str) -> Any:
    if isinstance(value, str) and _metavar(_kind(schema)) == "JSON":
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')} takes JSON: {error}") from error
    return value


def _kind(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the value itself, where none is allowed too."""
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return kinds[0]


def _metavar(kind: Mapping[str, Any]) -> str:
    return {"integer": "N", "number": "X", "string": "TEXT"}.get(str(kind.get("type")), "JSON")


def _help(schema: Mapping[str, Any]) -> str:
    kind, default = _kind(schema), schema.get("default")
    bounds = [f"{kind[key]:g}" for key in ("minimum", "maximum") if key in kind]
    notes = [schema.get("description", ""), f"{' to '.join(bounds)}." if len(bounds) == 2 else ""]
    if default is not None and not isinstance(default, bool):
        notes.append(f"Default: {default}.")
    return " ".join(note for note in notes if note).replace("%", "%%").replace("`", "")
