"""Progress bars for a terminal, one line per stage; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

BAR = "  {desc:<9}{bar:28} {n_fmt:>3}/{total_fmt}  {elapsed}"


class StageBars:
    """One bar after the other: a stage that begins ends the one before."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._bar: tqdm[None] | None = None
        self._stage = ""
        self._begun_at = 0.0
        self._total = 1

    def show(self, stage: str, done: int, total: int) -> None:
        """Says that `stage` is at `done` of `total`."""
        if stage != self._stage:
            self.close()
            self._stage, self._begun_at = stage, self._clock()
            if self._stream.isatty():
                self._bar = tqdm(total=total, desc=stage, file=self._stream, bar_format=BAR, mininterval=0)
        self._total = total
        if self._bar is not None:
            self._bar.total, self._bar.n = total, done
            self._bar.refresh()

    def close(self) -> None:
        """Ends the bar that is shown, full."""
        if self._bar is not None:
            self._bar.n = self._total
            self._bar.refresh()
            self._bar.close()
        elif self._stage:
            count = f"{self._total}/{self._total}" if self._total > 1 else ""
            self._stream.write(f"  {self._stage:<9}{count:>7}  {self._clock() - self._begun_at:5.1f} s\n")
            self._stream.flush()
        self._bar, self._stage = None, ""
