"""ADMesh and PrusaSlicer: the marks of tests that need them, what they find, and programs that stand for the latter.

Both are Debian packages: `apt-get install --no-install-recommends admesh prusa-slicer` (439 MB unpacked).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

WITHIN_S = 240

needs_admesh = pytest.mark.skipif(
    shutil.which("admesh") is None, reason="ADMESH IS MISSING: no second opinion. apt-get install admesh"
)
needs_slicer = pytest.mark.skipif(
    shutil.which("prusa-slicer") is None,
    reason="PRUSA-SLICER IS MISSING: nothing was sliced. apt-get install --no-install-recommends prusa-slicer",
)


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output
    return output


def admesh_findings(path: Path) -> dict[str, list[int]]:
    """Each line of ADMesh's table that counts a fault, with its numbers."""
    output = run("admesh", "--exact", "--normal-directions", path)
    faults = (
        *("disconnected edge", "Total disconnected facets", "Degenerate facets", "Edges fixed"),
        *("Facets removed", "Facets added", "Facets reversed", "Backwards edges"),
    )
    found = {}
    for line in output.splitlines():
        name, _, rest = line.partition(":")
        if any(fault in name for fault in faults):
            found[name.strip()] = [int(number) for number in re.findall(r"\d+", rest.split("Volume")[0])]
    return found


def program(path: Path, script: str) -> str:
    """A shell script as a command; $OUT is the file that it should write."""
    path.write_text(
        '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && OUT="$2"; shift; done; STL="$1"\n' + script
    )
    path.chmod(0o755)
    return str(path)
