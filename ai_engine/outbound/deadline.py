"""The deadline of one HTTP exchange, and the error that ends an exchange. Opens no connection."""

from __future__ import annotations

from collections.abc import Callable

RATE_GRACE_S = 5.0


class TransferFailed(Exception):
    """No usable answer came. The message holds nothing that the other side sent, but its status."""

    def __init__(self, reason: str, *, is_retryable: bool, status: int | None = None) -> None:
        super().__init__(reason)
        self.is_retryable = is_retryable
        self.status = status


class Deadline:
    """Deadline of one HTTP exchange: a total time, and a minimum rate while its body comes in."""

    def __init__(self, total_s: float, min_bytes_per_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total_s = total_s
        self._min_bytes_per_s = min_bytes_per_s
        self._ends_at = clock() + total_s
        self._body_began_at: float | None = None
        self._body_bytes = 0

    def begin_body(self) -> None:
        """From here on the minimum rate holds."""
        self._body_began_at = self._clock()

    def count(self, num_bytes: int) -> None:
        """Takes note of bytes of the body; each buys a little time."""
        self._body_bytes += num_bytes

    def shorten(self, remaining_s: float) -> None:
        """Ends the exchange `remaining_s` from now at the latest."""
        self._ends_at = min(self._ends_at, self._clock() + remaining_s)

    def remaining_s(self) -> float:
        """Seconds until the next bytes must be here.

        Raises:
            TransferFailed: there are none left.
        """
        remaining = self._next_bytes_by() - self._clock()
        if remaining <= 0:
            raise self.overdue()
        return remaining

    def overdue(self) -> TransferFailed:
        """The error that says which of the two limits was passed."""
        if self._next_bytes_by() < self._ends_at:
            reason = f"the other side sent less than {self._min_bytes_per_s:.0f} bytes a second"
        else:
            reason = f"the other side took longer than {self._total_s:.0f} s"
        return TransferFailed(reason, is_retryable=True)

    def _next_bytes_by(self) -> float:
        if self._body_began_at is None or self._min_bytes_per_s <= 0:
            return self._ends_at
        allowance_s = RATE_GRACE_S + self._body_bytes / self._min_bytes_per_s
        return min(self._ends_at, self._body_began_at + allowance_s)
