"""A caller's own mesh that came inside a request: what can be said of it before a worker reads it."""

from __future__ import annotations

import os
from typing import IO

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import InvalidField, MeshTooLarge, MeshUnreadable
from ai_engine.mesh_files.sniff import START_BYTES, format_of_start


def check_mesh_bytes(num_bytes: int, limits: MeshLimits, field: str) -> None:
    """Raises InvalidField if the file has more bytes than are taken."""
    if num_bytes > limits.max_bytes:
        raise InvalidField(field, limits.over, code=MeshTooLarge.code)


def check_start(file: IO[bytes], field: str) -> None:
    """Raises InvalidField if the file, which is at its start, begins as no mesh does."""
    start = file.read(START_BYTES)
    try:
        format_of_start(start, file.seek(0, os.SEEK_END))
    except MeshUnreadable as error:
        raise InvalidField(field, error.detail, code=error.code) from error
