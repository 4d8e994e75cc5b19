"""PrusaSlicer's command (AGPL-3.0), never linked: a process group of its own, bounded in seconds and in memory.

It gets a clean environment, a home that is removed with it, and a file that this service wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ai_engine.errors import SliceFailed
from ai_engine.facts import SlicingFacts
from ai_engine.settings import Settings
from ai_engine.slicing.gcode import read_gcode, without_time
from ai_engine.slicing.offer import SlicerOffer
from ai_engine.slicing.profiles import SHIPPED, UnknownProfile, choose_profiles
from ai_engine.wishes.slicing import Slice

MAX_SENTENCE_CHARS = 200
LOOK_S = 0.5
"""Between two looks whether it is done."""
_LIMITED = 'ulimit -v "$0" && exec "$@"'
"""A shell that becomes the program, its address space limited first."""


@dataclass(frozen=True)
class Slicer:
    """The command, its profiles and its limits."""

    command: str = "prusa-slicer"
    profiles: Path = SHIPPED
    timeout_s: float = 300.0
    max_memory_bytes: int = 4_000_000_000
    """Of address space."""

    @classmethod
    def of(cls, settings: Settings) -> Slicer:
        """The slicer that the settings name."""
        return cls(
            settings.slicer,
            settings.slicer_profiles or SHIPPED,
            settings.slicer_timeout_s,
            settings.slicer_max_memory_bytes,
        )

    @property
    def program(self) -> str | None:
        """The file of the command; None where it is not installed."""
        return shutil.which(self.command)

    def offer(self) -> SlicerOffer:
        """What can be sliced with here."""
        return SlicerOffer() if self.program is None else SlicerOffer.of_folder(self.profiles)

    def check(self, wish: Slice | None) -> None:
        """Raises SliceFailed if there is a wish that can't be met here."""
        refusal = None if wish is None else self.offer().refusal(wish)
        if refusal is not None:
            raise SliceFailed(f"{refusal.field}: {refusal.reason}.")

    def version(self) -> str | None:
        """Name and version of the program; None where it is not installed, or does not say."""
        if self.program is None:
            return None
        with tempfile.TemporaryDirectory(prefix="slicer-") as home:
            try:
                output = self._run(["--help"], Path(home), lambda: None)
            except SliceFailed:
                return None
        found = re.search(r"PrusaSlicer[- ](\d+(?:\.\d+)+)", output)
        return f"PrusaSlicer {found[1]}" if found else None

    def slice(
        self, stl: Path, gcode: Path, wish: Slice, on_wait: Callable[[], None] = lambda: None
    ) -> SlicingFacts:
        """Slices a mesh in millimetres to `gcode`, with what it says of the print.

        `on_wait` is called twice a second meanwhile; what it raises ends the program.

        Raises:
            SliceFailed: the slicer is not there, refuses the mesh, or needs more time or memory than it may have.
        """
        self.check(wish)
        chosen = choose_profiles(self.profiles, wish)
        assert not isinstance(chosen, UnknownProfile)
        with tempfile.TemporaryDirectory(prefix="slicer-") as home:
            made = Path(home) / "made.gcode"
            loads = [part for path in chosen for part in ("--load", str(path.resolve()))]
            output = self._run(
                [*loads, "--export-gcode", "-o", str(made), str(stl.resolve())], Path(home), on_wait
            )
            if not made.is_file():
                raise SliceFailed(_sentence(output))
            without_time(made, gcode)
            return _facts(made, gcode, wish)

    def _run(self, arguments: list[str], home: Path, on_wait: Callable[[], None]) -> str:
        """What the program says; it has ended well."""
        command = [self.program or self.command, "--datadir", str(home), *arguments]
        limit_kib = str(self.max_memory_bytes // 1024)
        with (home / "output").open("w+b") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LIMITED, limit_kib, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                env={"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C"},
                start_new_session=True,
            )
            try:
                status = _wait(process, time.monotonic() + self.timeout_s, on_wait)
            finally:
                _end(process)
            output.seek(0)
            text = output.read(1 << 20).decode(errors="replace")
        if status is None:
            raise SliceFailed(f"The slicer took longer than {self.timeout_s:g} s.")
        if status != 0:
            raise SliceFailed(_sentence(text))
        return text


def _wait(process: subprocess.Popen[bytes], deadline_s: float, on_wait: Callable[[], None]) -> int | None:
    """The exit status; None where it did not end by `deadline_s` of the monotonic clock."""
    while (left_s := deadline_s - time.monotonic()) > 0:
        try:
            return process.wait(min(LOOK_S, left_s))
        except subprocess.TimeoutExpired:
            on_wait()
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the process group, children too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _sentence(output: str) -> str:
    """The slicer's own last words without paths, bounded."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [line.partition("what():")[2].strip() for line in lines if "what():" in line]
    told = said or [line for line in lines if "[trace]" not in line and "=>" not in line]
    words = re.sub(r"(?<!\S)/[^\s:]+", "the file", told[-1] if told else "it ended without G-code")
    return f"PrusaSlicer: {''.join(one for one in words if one.isprintable())[:MAX_SENTENCE_CHARS]}"


def _facts(made: Path, gcode: Path, wish: Slice) -> SlicingFacts:
    try:
        found = read_gcode(made)
    except ValueError as error:
        raise SliceFailed(str(error)) from error
    with gcode.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return SlicingFacts(
        slicer=found.program,
        printer=wish.printer,
        filament=wish.filament,
        print_settings=wish.print_settings,
        grams=found.grams,
        hours=found.hours,
        support_share=found.support_share,
        layers=found.layers,
        gcode_bytes=gcode.stat().st_size,
        gcode_sha256=sha256,
    )
