"""How many event streams each caller holds open at this process: else one could take every place. Knows no HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ai_engine.errors import TooManyStreams

RETRY_AFTER_S = 5


class OpenStreams:
    """Counts them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._num_open: Counter[str] = Counter()

    def check(self, caller: str) -> None:
        """Comes back when this caller may open one more.

        Raises:
            TooManyStreams: as many are open as may be.
        """
        if self._most and self._num_open.get(caller, 0) >= self._most:
            raise TooManyStreams(f"{self._most} of your streams are open.", retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """One stream of this caller, open as long as the block. Of the event loop alone."""
        self._num_open[caller] += 1
        try:
            yield
        finally:
            self._num_open[caller] -= 1
            if not self._num_open[caller]:
                del self._num_open[caller]
