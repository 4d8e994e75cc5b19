"""Name lookups with a deadline, and no more at once than there are places. Knows no rule.

The system's resolver has no deadline of its own: it runs on a thread, which keeps its place until the resolver is done.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MAX_LOOKUPS = 32


@dataclass(frozen=True)
class Lookup:
    """One that was begun."""

    answers: queue.SimpleQueue[Sequence[str] | OSError]
    deadline_s: float
    """On the clock of `time.monotonic`."""

    def answer(self) -> Sequence[str]:
        """The addresses.

        Raises:
            OSError: the name has none, or the resolver did not answer in time.
        """
        try:
            answer = self.answers.get(timeout=max(self.deadline_s - time.monotonic(), 0.001))
        except queue.Empty:
            raise TimeoutError("no answer from the name service in time") from None
        if isinstance(answer, OSError):
            raise answer
        if not answer:
            raise OSError("the name has no address")
        return answer


@dataclass(frozen=True)
class LookupPlaces:
    """Names that do not answer take no more threads than there are places."""

    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_LOOKUPS))

    def begin(
        self, resolve: Callable[[], Sequence[str]], *, timeout_s: float, wait_s: float
    ) -> Lookup | None:
        """A lookup that has `timeout_s` from now; None where no place becomes free in `wait_s`."""
        lookup = Lookup(queue.SimpleQueue(), time.monotonic() + timeout_s)
        if not self.places.acquire(timeout=max(wait_s, 0.0)):
            return None

        def look_up() -> None:
            try:
                lookup.answers.put(resolve())
            except (OSError, UnicodeError) as error:
                lookup.answers.put(error if isinstance(error, OSError) else OSError(str(error)))
            finally:
                self.places.release()

        threading.Thread(target=look_up, name="name lookup", daemon=True).start()
        return lookup
