"""Programs that stand for PrusaSlicer where it should misbehave, and the mark of tests that need the real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

needs_slicer = pytest.mark.skipif(
    shutil.which("prusa-slicer") is None,
    reason="PRUSA-SLICER IS MISSING: nothing was sliced. apt-get install --no-install-recommends prusa-slicer",
)


def program(path: Path, script: str) -> str:
    """A shell script as a command; $OUT is the file that it should write."""
    path.write_text(
        '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && OUT="$2"; shift; done; STL="$1"\n' + script
    )
    path.chmod(0o755)
    return str(path)
