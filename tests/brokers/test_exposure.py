"""Clients of a broker are kept in bounded form, whatever their names are."""

import pytest

from troth.brokers.exposure import Connection, address_of, connected, hidden, nothing_shown
from troth.resources.messaging.names import PRINCIPAL_LIMIT
from troth.resources.messaging.observed_broker import (
    MOST_ADDRESSES,
    MOST_CLIENTS,
    MOST_NAMES,
    MOST_REASON,
    Aspect,
    Exposure,
    ObservedClient,
)


def test_connections_of_one_login_are_kept_together() -> None:
    found = connected(
        [
            Connection("shop", name="b", address="10.0.0.2"),
            Connection("shop", name="a", address="10.0.0.1"),
            Connection("shop", name="a", address="10.0.0.1"),
        ]
    )
    assert found.clients == (
        ObservedClient(principal="shop", names=("a", "b"), addresses=("10.0.0.1", "10.0.0.2")),
    )
    assert found.hidden == ()


def test_addresses_and_names_beyond_the_limit_are_left_out_and_said() -> None:
    many = [Connection("a", name=f"n{n}", address=f"10.0.0.{n}") for n in range(MOST_ADDRESSES + 1)]
    found = connected(many)
    assert len(found.clients[0].addresses) == MOST_ADDRESSES
    assert len(found.clients[0].names) == MOST_NAMES
    assert found.clients[0].more_addresses
    assert [each.aspect for each in found.hidden] == [Aspect.CLIENTS]


def test_logins_at_several_addresses_are_kept_before_others() -> None:
    single = [Connection(f"a{n:03}", address="10.0.0.1") for n in range(MOST_CLIENTS)]
    shared = [Connection("z", address=f"10.0.0.{n}") for n in (1, 2)]
    found = connected([*single, *shared])
    assert len(found.clients) == MOST_CLIENTS
    assert found.clients[0].principal == "z"
    assert [each.aspect for each in found.hidden] == [Aspect.CLIENTS]


def test_text_that_is_no_address_is_left_out_of_a_login() -> None:
    texts = ("\x1b[31m", "host", "", "::ffff:10.0.0.1", "10.0.0.1")
    (found,) = connected([Connection("a", address=text) for text in texts]).clients
    assert found.addresses == ("10.0.0.1",)


def test_order_of_connections_does_not_matter() -> None:
    several = [Connection(who, address=f"10.0.0.{n}") for who in "ab" for n in range(3)]
    assert connected(several) == connected(reversed(several))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("", ""),
        ("\x1b[31m", ""),
        ("10.0.0.1\n", ""),
        ("host", ""),
    ],
)
def test_only_an_address_is_kept_as_one(text: str, address: str) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["\x1b[31mred\x07", "\u202eevil", "x" * 10_000, "\ud800"])
def test_hostile_names_are_escaped_and_shortened(text: str) -> None:
    (found,) = connected([Connection(text, name=text)]).clients
    shown = found.manifest()
    for each in (shown["principal"], *shown["names"]):
        assert each.isascii()
        assert each.isprintable()
        assert len(each) <= PRINCIPAL_LIMIT
    assert ObservedClient.model_validate(shown) == found


def test_broker_that_shows_nothing_hides_every_aspect() -> None:
    shown = nothing_shown("x" * 10_000)
    assert {each.aspect for each in shown.hidden} == set(Aspect)
    assert all(len(each.reason) == MOST_REASON for each in shown.hidden)
    assert Exposure.model_validate(shown.manifest()) == shown


def test_aspect_without_a_reason_is_not_hidden() -> None:
    assert hidden(Aspect.RIGHTS) == ()
