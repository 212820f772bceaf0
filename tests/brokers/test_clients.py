"""Clients of a broker are kept within bounds, whatever names they choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.brokers.clients import (
    MOST_KINDS,
    MOST_NAMES,
    MOST_SHOWN,
    MOST_TOPICS,
    Client,
    bounded,
    client_of,
    shown,
)
from troth.documents.client_name import client_name
from troth.trust.grants import Action

GUARDED = client_name(["shop/orders", "shop/returns"])


def test_name_of_the_guard_is_read_and_not_kept() -> None:
    found = client_of(GUARDED, principal="p", actions=[Action.CONSUME, Action.CONSUME])
    assert found == Client("p", policies=("shop/orders", "shop/returns"), actions=(Action.CONSUME,))


def test_guard_that_does_not_name_all_policies_is_kept_as_such() -> None:
    found = client_of("troth-events/1 shop/orders +", group="g")
    assert found.policies == ("shop/orders",)
    assert not found.named_all


@given(st.text(max_size=300))
def test_any_name_is_shown_in_printable_ascii(name: str) -> None:
    text = shown(name)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= MOST_SHOWN


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rdkafka", "rdkafka"),
        ("", ""),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nb\u202ec", "a\\nb\\u202ec"),
        ("x" * 10_000, "x" * 61 + "..."),
        ("\x1b" * 10_000, "\\x1b" * 15 + "\\..."),
    ],
)
def test_hostile_name_is_escaped_and_shortened(name: str, text: str) -> None:
    found = client_of(name, principal="p")
    assert found.policies is None
    assert found.name == text


def test_few_names_of_one_kind_are_kept() -> None:
    found = bounded(client_of(f"pod-{number:04}", group="g") for number in range(10_000))
    assert {each.name for each in found} == {"pod-0000", "pod-0001", "pod-0002"}
    assert len(found) == MOST_NAMES


def test_other_clients_cannot_displace_those_of_another_principal() -> None:
    flood = [client_of(f"pod-{number}", principal="loud") for number in range(1000)]
    quiet = client_of("till", principal="quiet")
    assert quiet in bounded([*flood, quiet])


def test_guarded_clients_cannot_displace_one_without_the_guard() -> None:
    flood = [client_of(client_name([f"a/p{number}"]), principal="p") for number in range(1000)]
    bare = client_of("zzz", principal="p")
    found = bounded([*flood, bare])
    assert bare in found
    assert len(found) == MOST_KINDS


def test_client_with_too_many_topics_may_use_any() -> None:
    assert client_of("", group="g", topics=["b", "a", "b"]).topics == ("a", "b")
    assert client_of("", group="g", topics=map(str, range(MOST_TOPICS + 1))).topics == ()


@given(st.lists(st.tuples(st.sampled_from("pq"), st.text("ab", max_size=3)), max_size=40))
def test_order_of_the_clients_does_not_matter(pairs: list[tuple[str, str]]) -> None:
    clients = [client_of(name, principal=principal) for principal, name in pairs]
    assert bounded(clients) == bounded(reversed(clients))
