"""Progress bars for a terminal, one line per stage; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

BAR_WIDTH = 28


class StageBars:
    """One bar after the other: a stage that begins ends the one before."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._full, self._empty = _glyphs(stream)
        self._stage: str | None = None
        self._begun_at = 0.0
        self._total = 1

    def show(self, stage: str, done: int, total: int) -> None:
        """Says that `stage` is at `done` of `total`."""
        if stage != self._stage:
            self.close()
            self._stage, self._begun_at = stage, self._clock()
        self._total = total
        if self._is_terminal:
            self._stream.write("\r" + self._line(done) + "  ")
            self._stream.flush()

    def close(self) -> None:
        """Ends the bar that is shown, full."""
        if self._stage is None:
            return
        start = "\r" if self._is_terminal else ""
        self._stream.write(f"{start}{self._line(self._total)}  {self._clock() - self._begun_at:5.1f} s\n")
        self._stream.flush()
        self._stage = None

    def _line(self, done: int) -> str:
        share = done / self._total if self._total else 1.0
        num_full = round(BAR_WIDTH * min(max(share, 0.0), 1.0))
        count = f"{done}/{self._total}" if self._total > 1 else ""
        return f"  {self._stage:<9}{self._full * num_full}{self._empty * (BAR_WIDTH - num_full)} {count:>7}"


def _glyphs(stream: TextIO) -> tuple[str, str]:
    try:
        "█░".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "░"
