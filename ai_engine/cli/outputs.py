"""Where a command's mesh files go: a file, a folder, standard output. None is ever half written."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import get_args

from ai_engine.cli.endings import UsageError
from ai_engine.engine.generated import write_whole
from ai_engine.facts import MeshFormat
from ai_engine.mesh_files.sniff import format_of


def add_output_flags(parser: argparse.ArgumentParser, *, is_required: bool = False) -> None:
    """The flags that `Outputs.of` reads."""
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        required=is_required,
        help="file, folder, or - for standard output" + ("" if is_required else "; here unless given"),
    )
    parser.add_argument(
        "--format", action="append", choices=get_args(MeshFormat), help="may be given several times"
    )


def stem_of(name: str) -> str:
    """What a mesh is called that is made of the file or URL `name`."""
    return PurePath(re.split(r"[?#]", name)[0]).stem or "mesh"


@dataclass(frozen=True)
class Outputs:
    """The formats of each mesh, and where its files lie."""

    formats: tuple[MeshFormat, ...]
    folder: Path = Path()
    file: Path | None = None
    """The one file that is asked for by name."""
    is_stdout: bool = False

    @classmethod
    def of(cls, out: str | None, formats: Sequence[MeshFormat] | None, *, is_single: bool) -> Outputs:
        """What `--out` and `--format` say together; `is_single`: there is one input.

        Raises:
            UsageError: several meshes would go to one place, or suffix and format differ.
        """
        wished = tuple(dict.fromkeys(formats or ()))
        if out == "-":
            if not is_single or len(wished) > 1:
                raise UsageError("standard output takes one mesh in one format")
            return cls(wished or ("stl",), is_stdout=True)
        if out is not None and not is_single and _names_a_mesh(Path(out)):
            raise UsageError(f"{Path(out).name} is one file, and there are several meshes: name a folder")
        if (
            out is None
            or out.endswith(("/", "\\"))
            or Path(out).is_dir()
            or not (is_single and Path(out).suffix)
        ):
            return cls(wished or ("stl",), Path(out or "."))
        return cls(_format_of_file(Path(out), wished), file=Path(out))

    def paths(self, stem: str) -> list[Path]:
        """The files of the mesh that is called `stem`."""
        if self.is_stdout:
            return []
        if self.file is not None:
            return [self.file]
        return [self.folder / f"{stem}.{file_format}" for file_format in self.formats]

    def make_folders(self, stem: str) -> None:
        """Makes the folder of the files, before the work that a missing one would waste.

        Raises:
            OSError: it can't be made, or nothing may be written there.
        """
        for folder in {path.parent for path in self.paths(stem)}:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def write(self, stem: str, bytes_as: Callable[[MeshFormat], bytes]) -> None:
        """Writes the files, each whole or not at all.

        Raises:
            OSError: one can't be written.
        """
        if self.is_stdout:
            sys.stdout.buffer.write(bytes_as(self.formats[0]))
            sys.stdout.buffer.flush()
        self.make_folders(stem)
        for path, file_format in zip(self.paths(stem), self.formats, strict=False):
            write_whole(path, bytes_as(file_format))

    def write_gcode(self, stem: str, gcode: bytes | None) -> list[Path]:
        """Writes a slicer's G-code, where there is any, beside the mesh; standard output has the mesh alone.

        Raises:
            OSError: it can't be written.
        """
        if gcode is None or self.is_stdout:
            return []
        path = self.file.with_suffix(".gcode") if self.file else self.folder / f"{stem}.gcode"
        write_whole(path, gcode)
        return [path]


def _names_a_mesh(path: Path) -> bool:
    """True for a path with the suffix of a mesh format, if no folder is called so."""
    return path.suffix.removeprefix(".").lower() in get_args(MeshFormat) and not path.is_dir()


def _format_of_file(path: Path, wished: tuple[MeshFormat, ...]) -> tuple[MeshFormat, ...]:
    try:
        named = format_of(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if wished not in ((), (named,)):
        raise UsageError(f"{path.name} is one file, and --format wishes {', '.join(wished)}: name a folder")
    return (named,)
