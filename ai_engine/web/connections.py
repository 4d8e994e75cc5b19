"""Connection limits: a cap in all and per address, and the idle connection that is closed for a new one.

A connection that holds its place for nothing (no request on it, or an answer that its caller does not read) gives way
when the server, or the newcomer's own address, is at its cap: the address with the most connections loses one first.
Knows no HTTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None  # type: ignore[assignment]

OTHER_DESCRIPTORS = 128
"""For the database, the log, name lookups and what a process has open besides its connections."""
DESCRIPTORS_PER_CONNECTION = 2
"""The socket and the file that is sent through it."""


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be."""

    in_all: int
    per_address: int = 0
    """0: as many as in all."""


class Held(Protocol):
    """A connection as the table sees it."""

    address: str

    def held_for_nothing_since(self) -> float | None:
        """When it stopped doing something; None while a request is being answered and read."""

    def give_way(self) -> None:
        """Ends it at once."""


class Connections:
    """The open connections of one server. Of the event loop alone."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._by_address: defaultdict[str, set[Held]] = defaultdict(set)
        self._num_open = 0

    def __len__(self) -> int:
        return self._num_open

    def admit(self, newcomer: Held) -> bool:
        """True when `newcomer` is taken, others having given way where there was no room."""
        own = self._by_address.get(newcomer.address, set())
        most = self._limits.per_address
        if most and len(own) >= most and not self._make_room(own):
            return False
        if self._num_open >= self._limits.in_all:
            largest = max(self._by_address.values(), key=len)
            if len(largest) < len(own) or not self._make_room(largest):
                return False
        self._by_address[newcomer.address].add(newcomer)
        self._num_open += 1
        return True

    def forget(self, connection: Held) -> None:
        """Takes a closed connection out; one that was never admitted is fine."""
        own = self._by_address.get(connection.address, set())
        if connection not in own:
            return
        own.remove(connection)
        self._num_open -= 1
        if not own:
            del self._by_address[connection.address]

    def _make_room(self, among: Iterable[Held]) -> bool:
        waiting = [(since, one) for one in among if (since := one.held_for_nothing_since()) is not None]
        if not waiting:
            return False
        _, longest = min(waiting, key=lambda pair: pair[0])
        self.forget(longest)
        longest.give_way()
        return True


def raise_descriptor_limit() -> int | None:
    """Raises the soft limit of open files to the hard one; the limit, None where there is none to know."""
    if resource is None:
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard


def within_descriptors(limits: ConnectionLimits, num_descriptors: int | None) -> ConnectionLimits:
    """`limits`, lowered to what the process may have open."""
    if num_descriptors is None:
        return limits
    most = max(1, (num_descriptors - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)
    return ConnectionLimits(min(limits.in_all, most), limits.per_address)
