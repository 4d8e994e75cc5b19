"""`finish` and `check`: what can be done with a mesh file without a model and without a device."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ai_engine.cli.endings import (
    EXIT_FAILED,
    EXIT_NOT_PRINTABLE,
    EXIT_OK,
    EXIT_USAGE,
    UsageError,
    code_of,
    run_interruptibly,
    sentence,
)
from ai_engine.cli.field_flags import FINISH_FIELDS, add_field_flags, fields_of
from ai_engine.cli.outputs import Outputs, add_output_flags, stem_of
from ai_engine.engine.engine import print_options
from ai_engine.engine.finishing import check_file, finish_file
from ai_engine.errors import JobError, MeshUnreadable, NotPrintable
from ai_engine.facts import PrintFacts
from ai_engine.mesh_files.sniff import sniffed_format
from ai_engine.settings import read_settings
from ai_engine.slicing.slicer import Slicer
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions

FINISH_EXAMPLES = """examples:
  ai-engine finish chair.3mf --height-mm 60 -o small.3mf
  ai-engine finish chair.stl --target-faces 50000 --format 3mf --format glb -o meshes/

A mesh of ours in model units stays in them unless --height-mm is given; any other is taken as millimetres with Z up,
GLB as metres with Y up, and comes out in millimetres. Exit status: 0, 1 failed, 2 usage, 3 not printable."""
CHECK_EXAMPLES = """examples:
  ai-engine check part.stl            0 printable, 3 not
  ai-engine check --json *.3mf        a line of JSON for each"""


def add_finish(parser: argparse.ArgumentParser) -> None:
    """The flags of `finish`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = FINISH_EXAMPLES
    parser.add_argument(
        "mesh", metavar="MESH", help="STL, 3MF, GLB, OBJ or PLY file, or - for standard input"
    )
    parser.add_argument(
        "--base-mesh",
        metavar="FILE",
        help="a pedestal of your own, STL or 3MF in millimetres; in place of --base",
    )
    add_output_flags(parser, is_required=True)
    add_field_flags(parser, FINISH_FIELDS)


def add_check(parser: argparse.ArgumentParser) -> None:
    """The flags of `check`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = CHECK_EXAMPLES
    parser.add_argument(
        "meshes", nargs="+", metavar="MESH", help="STL, 3MF, GLB, OBJ or PLY, or - for standard input"
    )
    parser.add_argument("--json", action="store_true", help="the whole report, a line of JSON for each mesh")


def run_finish(options: argparse.Namespace) -> int:
    """Finishes a mesh file once more; the exit status."""
    return run_interruptibly(lambda: _finish(options))


def _finish(options: argparse.Namespace) -> int:
    try:
        wishes, pedestal = _wishes(options)
        data = _read(options.mesh)
        formats = options.format
        if formats is None and (options.out == "-" or Path(options.out).is_dir()):
            formats = [sniffed_format(data)]
        outputs = Outputs.of(options.out, formats, is_single=True)
        stem, slicer = stem_of(options.mesh), Slicer.of(read_settings()) if wishes.slice else None
        finished = finish_file(
            data, wishes, title=stem, formats=outputs.formats, pedestal=pedestal, slicer=slicer
        )
        outputs.write(stem, finished.bytes_as)
        paths = [*outputs.paths(stem), *outputs.write_gcode(stem, finished.gcode)]
    except UsageError as error:
        return _fail("ai-engine finish", error, EXIT_USAGE)
    except BrokenPipeError:
        raise
    except (JobError, OSError) as error:
        not_printable = isinstance(error, NotPrintable)
        return _fail(options.mesh, error, EXIT_NOT_PRINTABLE if not_printable else EXIT_FAILED)
    print(f"{options.mesh}: {_line(finished.report.facts())}", file=sys.stderr)
    for path in paths:
        print(path)
    return EXIT_OK


def _wishes(options: argparse.Namespace) -> tuple[PrintOptions, bytes | None]:
    """The print fields, and the pedestal's file.

    Raises:
        UsageError: a field can't be so, or two bases are named.
        OSError: the pedestal's file can't be read.
    """
    try:
        wishes = print_options(fields_of(options, FINISH_FIELDS))
    except ValueError as error:
        raise UsageError(sentence(error)) from error
    if options.base_mesh is None:
        return wishes, None
    if wishes.base is not None:
        raise UsageError("--base and --base-mesh are two bases: give one")
    return replace(wishes, base=Base(mesh_url=options.base_mesh)), _read(options.base_mesh)


def run_check(options: argparse.Namespace) -> int:
    """Reports on mesh files as they are; the exit status."""
    return run_interruptibly(lambda: _check_all(options.meshes, is_json=options.json))


def _check_all(names: Sequence[str], *, is_json: bool) -> int:
    statuses = [_check(name, is_json=is_json) for name in names]
    return EXIT_FAILED if EXIT_FAILED in statuses else max(statuses)


def _check(name: str, *, is_json: bool) -> int:
    try:
        facts = check_file(_read(name)).facts()
    except (MeshUnreadable, OSError) as error:
        if is_json:
            _print_json(name, {"error": {"code": code_of(error), "detail": sentence(error, about=name)}})
        return _fail(name, error, EXIT_FAILED)
    if is_json:
        _print_json(name, asdict(facts))
    else:
        _print_report(name, facts)
    return EXIT_OK if facts.printable else EXIT_NOT_PRINTABLE


def _print_json(name: str, facts: dict[str, Any]) -> None:
    print(json.dumps({"mesh": name} | facts), flush=True)


def _print_report(name: str, facts: PrintFacts) -> None:
    print(f"{name}: {_line(facts)}", flush=True)
    for warning in facts.warnings:
        print(f"  {warning}")


def _line(facts: PrintFacts) -> str:
    size = " x ".join(f"{side:.4g}" for side in facts.bbox_mm)
    state = "printable" if facts.printable else "NOT PRINTABLE"
    closed = "watertight" if facts.watertight else "not watertight"
    counts = f"{facts.triangles:,} triangles, {facts.bodies} bodies"
    return f"{state}, {closed}, {counts}, {size} mm, {facts.volume_cm3:.4g} cm3"


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _fail(name: str, error: Exception, status: int) -> int:
    print(f"{name}: {sentence(error, about=name)}", file=sys.stderr)
    return status
