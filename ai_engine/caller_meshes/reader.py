"""The process that `read_apart` starts: `python -m ai_engine.caller_meshes.reader FILE NPZ MAX_FACES IS_IN_MM`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ai_engine.caller_meshes.read_apart import MAX_MEMORY_BYTES, MAX_READ_S, answer_of
from ai_engine.caller_meshes.read_here import ReadFacts, read_here
from ai_engine.errors import MeshBomb, MeshUnreadable


def limit_process() -> None:
    """Bounds this process's address space and processor time, where the system can."""
    with contextlib.suppress(ImportError):
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CPU, (int(MAX_READ_S), int(MAX_READ_S)))


def read(arguments: list[str]) -> ReadFacts | MeshUnreadable:
    """What is known of the mesh file, whose mesh lies at its NPZ then; or why it can't be read."""
    source, target, max_faces, is_in_mm = arguments
    try:
        return read_here(Path(source), Path(target), max_faces=int(max_faces), is_in_mm=bool(int(is_in_mm)))
    except MeshUnreadable as error:
        return error
    except MemoryError:
        return MeshBomb("The mesh file takes more memory to read than it gets.")


if __name__ == "__main__":
    limit_process()
    print(answer_of(read(sys.argv[1:])))
