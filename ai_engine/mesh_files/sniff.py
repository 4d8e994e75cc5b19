"""Which mesh format a file's name or first bytes announce. Needs no parser."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import cast, get_args

from ai_engine.errors import MeshUnreadable
from ai_engine.facts import MeshFormat

START_BYTES = 1 << 16
"""How much of a file's beginning says what it is."""
STL_HEADER_BYTES = 80
STL_BYTES_PER_FACE = 50


def format_of(path: str | os.PathLike[str]) -> MeshFormat:
    """The format that a path's suffix names.

    Raises:
        ValueError: it names none.
    """
    suffix = PurePath(path).suffix.lower().lstrip(".")
    if suffix not in get_args(MeshFormat):
        known = ", ".join(f".{name}" for name in get_args(MeshFormat))
        raise ValueError(f"{PurePath(path).name}: mesh files end in {known}")
    return cast(MeshFormat, suffix)


def sniffed_format(data: bytes) -> MeshFormat:
    """The format that the bytes are in, whatever the file is called.

    Raises:
        MeshUnreadable: in none of them.
    """
    return format_of_start(data[:START_BYTES], len(data))


def format_of_start(start: bytes, num_bytes: int) -> MeshFormat:
    """The format of a file of `num_bytes` that begins with `start`, its first START_BYTES.

    Raises:
        MeshUnreadable: none that is read.
    """
    if is_binary_stl(start, num_bytes):
        return "stl"
    head = start[:512].lstrip()
    if head.startswith(b"PK\x03\x04"):
        return "3mf"
    if head.startswith(b"glTF"):
        return "glb"
    if head.startswith(b"ply"):
        return "ply"
    if head[:5].lower() == b"solid":
        return "stl"
    if any(line.lstrip().startswith((b"v ", b"v\t")) for line in start.splitlines()):
        return "obj"
    raise MeshUnreadable("The file is no mesh in STL, 3MF, GLB, OBJ or PLY.")


def is_binary_stl(start: bytes, num_bytes: int) -> bool:
    """True for a file of `num_bytes` that begins with `start`, if its size is that of the faces it announces."""
    num_faces = int.from_bytes(start[STL_HEADER_BYTES : STL_HEADER_BYTES + 4], "little")
    return num_bytes == STL_HEADER_BYTES + 4 + num_faces * STL_BYTES_PER_FACE
