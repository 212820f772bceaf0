"""Connections in one stage, counted by peer."""

from ipaddress import ip_address

from troth.edge.inbound.connections.limits import Stage, peer_address


def test_connections_are_listed_by_peer_and_by_age() -> None:
    stage: Stage[str] = Stage()
    for name, peer in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("n1", None)):
        stage.add(name, peer)
    assert list(stage) == ["a1", "b1", "a2", "n1"]
    assert list(stage.of("a")) == list(stage.of_largest()) == ["a1", "a2"]
    assert list(stage.of(None)) == ["n1"]
    assert list(stage.of("c")) == []


def test_removed_connections_leave_nothing_behind() -> None:
    stage: Stage[str] = Stage()
    stage.add("a1", "a")
    for _ in range(2):
        stage.discard("a1")
    assert (len(stage), list(stage.of_largest()), stage._of) == (0, [], {})


def test_ipv4_mapped_peer_is_its_ipv4_address() -> None:
    assert peer_address("::ffff:192.0.2.1") == peer_address("192.0.2.1") == ip_address("192.0.2.1")
    assert peer_address("2001:db8::1") != peer_address("2001:db8::2")
    assert peer_address("a path of a socket") is None
