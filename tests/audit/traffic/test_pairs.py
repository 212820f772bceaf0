"""Connections become pairs, in a bounded amount of memory."""

from datetime import UTC, datetime, timedelta

from troth.audit.traffic import pairs
from troth.audit.traffic.conntrack import Connection
from troth.audit.traffic.pairs import Pair, Pairs

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)


def open_(source_port: int = 40000, source: str = "10.0.0.5") -> Connection:
    return Connection(source, "10.0.0.7", 8443, "TCP", source_port)


PAIR = Pair("10.0.0.5", "10.0.0.7", 8443, "TCP")


def test_connection_is_counted_once_however_often_it_is_seen() -> None:
    seen = Pairs()
    assert seen.look([open_()], NOW) == [PAIR]
    assert seen.look([open_(), open_(40001)], LATER) == []
    sighting = seen[PAIR]
    assert (sighting.connections, sighting.first_seen, sighting.last_seen) == (2, NOW, LATER)


def test_connection_that_comes_back_is_another_one() -> None:
    seen = Pairs()
    for connections in ([open_()], [], [open_()]):
        seen.look(connections, NOW)
    assert seen[PAIR].connections == 2


def test_least_recently_seen_pair_is_dropped_and_counted() -> None:
    seen = Pairs(most=2)
    seen.look([open_(source="10.0.0.1"), open_(source="10.0.0.2")], NOW)
    new = seen.look([open_(source="10.0.0.1"), open_(source="10.0.0.3")], LATER)
    assert [each.source for each in new] == ["10.0.0.3"]
    assert [pair.source for pair, _ in seen.items()] == ["10.0.0.1", "10.0.0.3"]
    assert seen.dropped == 1


def test_number_of_connections_that_are_told_apart_is_bounded() -> None:
    seen = Pairs()
    seen.look((open_(number) for number in range(pairs.MOST_CONNECTIONS + 10)), NOW)
    assert len(seen._open) == pairs.MOST_CONNECTIONS
    assert len(seen) == 1
