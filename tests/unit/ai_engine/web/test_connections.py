"""Who gives way to whom, without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

from ai_engine.web.connections import ConnectionLimits, Connections, within_descriptors


@dataclass(eq=False)
class One:
    address: str
    for_nothing_since: float | None = None
    has_given_way: bool = field(default=False)

    def held_for_nothing_since(self) -> float | None:
        return self.for_nothing_since

    def give_way(self) -> None:
        self.has_given_way = True


def test_the_address_with_the_most_connections_loses_the_one_that_was_idle_longest() -> None:
    connections = Connections(ConnectionLimits(4))
    many = [One("mallory", since) for since in (3.0, 1.0, 2.0)]
    honest = One("alice", 0.0)
    for one in (*many, honest):
        assert connections.admit(one)
    assert connections.admit(One("bob"))
    assert [one.has_given_way for one in many] == [False, True, False]
    assert not honest.has_given_way
    assert len(connections) == 4


def test_an_address_at_its_cap_takes_from_itself() -> None:
    connections = Connections(ConnectionLimits(100, per_address=2))
    idle, busy = One("mallory", 1.0), One("mallory")
    assert connections.admit(idle)
    assert connections.admit(busy)
    assert connections.admit(One("mallory"))
    assert idle.has_given_way
    assert not connections.admit(One("mallory"))
    assert connections.admit(One("alice"))


def test_one_with_more_than_anybody_gets_no_other_address_place() -> None:
    connections = Connections(ConnectionLimits(3))
    for one in (One("mallory"), One("mallory"), One("alice", 0.0)):
        assert connections.admit(one)
    assert not connections.admit(One("mallory"))


def test_a_closed_connection_is_forgotten_once() -> None:
    connections = Connections(ConnectionLimits(1))
    one = One("alice")
    assert connections.admit(one)
    connections.forget(one)
    connections.forget(one)
    assert len(connections) == 0
    assert connections.admit(One("bob"))


def test_there_are_never_more_than_descriptors_allow() -> None:
    assert within_descriptors(ConnectionLimits(2000, 7), 1024) == ConnectionLimits(448, 7)
    assert within_descriptors(ConnectionLimits(2000), None) == ConnectionLimits(2000)
    assert within_descriptors(ConnectionLimits(2000), 16).in_all == 1
