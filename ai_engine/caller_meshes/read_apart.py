"""Reads a caller's mesh file in a process of its own, whose memory and time are limited.

What is in the file is anybody's: a parser that breaks, fills memory or never ends takes no worker with it. The process
gets none of this one's secrets. Binary STL is read here: its bytes are the numbers, and nothing in them is parsed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ai_engine import errors
from ai_engine.caller_meshes.read_here import ReadFacts, read_here
from ai_engine.errors import MeshBomb, MeshUnreadable, TooManyFaces
from ai_engine.facts import PrintFacts
from ai_engine.mesh_files.sniff import START_BYTES, is_binary_stl

MAX_MEMORY_BYTES = 6_000_000_000
"""Address space of the process."""
MAX_READ_S = 120.0
LOOK_S = 2.0
"""Between two looks whether it should stop; its end is noticed at once."""
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_KINDS: dict[str, type[MeshUnreadable]] = {
    kind.code: kind for kind in (MeshUnreadable, TooManyFaces, MeshBomb)
}


def read_apart(
    source: Path,
    target: Path,
    *,
    max_faces: int,
    look: Callable[[], None] = lambda: None,
    is_in_mm: bool = False,
) -> ReadFacts:
    """As `read_here`, in a process of its own; `look` is called meanwhile and may raise to stop it.

    Raises:
        MeshUnreadable: the bytes are no mesh, or a damaged one.
        TooManyFaces: it has more than `max_faces`.
        MeshBomb: it unpacks to too much, or needs more memory or time than it gets.
    """
    with source.open("rb") as file:
        if is_binary_stl(file.read(START_BYTES), source.stat().st_size):
            return read_here(source, target, max_faces=max_faces, is_in_mm=is_in_mm)
    reader = "ai_engine.caller_meshes.reader"
    command = [sys.executable, "-m", reader, str(source), str(target), str(max_faces), str(int(is_in_mm))]
    answer = _run(command, look)
    if "error" in answer:
        raise _KINDS[answer["error"]](answer["detail"])
    return ReadFacts(answer["format"], answer["mm_per_unit"], PrintFacts.from_dict(answer["report"]))


def _run(command: list[str], look: Callable[[], None]) -> dict[str, Any]:
    """What the reader prints."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _ONE_THREAD
    ends_at = time.monotonic() + MAX_READ_S
    root = Path(errors.__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        try:
            answer = _answer(process, ends_at, look)
        finally:
            process.kill()
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError as error:  # it was killed: by the system for its memory, or broke beyond Python
        raise MeshBomb("The mesh file takes more memory to read than it gets.") from error
    return found


def _answer(process: subprocess.Popen[bytes], ends_at: float, look: Callable[[], None]) -> bytes:
    while True:
        try:
            return process.communicate(timeout=LOOK_S)[0]
        except subprocess.TimeoutExpired:
            if time.monotonic() > ends_at:
                raise MeshBomb(f"The mesh file takes longer than {MAX_READ_S:g} s to read.") from None
            look()


def answer_of(facts: ReadFacts | MeshUnreadable) -> str:
    """What the reader prints."""
    if isinstance(facts, MeshUnreadable):
        return json.dumps({"error": facts.code, "detail": facts.detail})
    return json.dumps(asdict(facts))
