"""A token holds what the callee gives and the caller asks for, each where their edge is live."""

from typing import Any

import pytest

from tests import builders
from tests.builders import accept, call, parsed_identity
from troth.trust.scopes import Scopes, scopes_between

CHARGE, REFUND, ADMIN = "payments.charge", "payments.refund", "payments.admin"


def asking(*scopes: str, ports: tuple[str, ...] = ("https",), **more: Any) -> builders.Manifest:
    return call("payments", *ports, **more) | {"scopes": list(scopes)}


def giving(*scopes: str, ports: tuple[str, ...] = ("https",), **more: Any) -> builders.Manifest:
    return accept("checkout", *ports, scopes=list(scopes), **more)


def between(
    accepts: list[builders.Manifest],
    calls: list[builders.Manifest],
    live: tuple[str, ...] = ("https",),
) -> Scopes:
    payments = builders.identity("payments", ports=["https", ("admin", 8444)], accepts=accepts)
    checkout = builders.identity("checkout", calls=calls)
    return scopes_between(parsed_identity(checkout), parsed_identity(payments), live)


def test_a_scope_is_held_where_it_is_given_and_asked_for() -> None:
    assert between([giving(CHARGE, REFUND)], [asking(CHARGE, ADMIN)]).held == (CHARGE,)


@pytest.mark.parametrize(
    ("accepts", "calls"),
    [
        ([giving(CHARGE)], [asking()]),
        ([giving(CHARGE)], []),
        ([giving()], [asking(CHARGE)]),
        ([], [asking(CHARGE)]),
    ],
)
def test_one_sides_word_gives_nothing(
    accepts: list[builders.Manifest], calls: list[builders.Manifest]
) -> None:
    assert between(accepts, calls).held == ()


def test_no_live_edge_gives_nothing() -> None:
    assert between([giving(CHARGE)], [asking(CHARGE)], live=()).held == ()


def test_an_entry_counts_only_with_a_live_port() -> None:
    accepts = [giving(CHARGE), giving(ADMIN, ports=("admin",))]
    calls = [asking(CHARGE, ADMIN, ports=("https", "admin"))]
    assert between(accepts, calls).held == (CHARGE,)
    assert between(accepts, calls, live=("admin",)).held == (ADMIN,)
    assert between(accepts, calls, live=("https", "admin")).held == (ADMIN, CHARGE)


def test_what_is_said_to_others_does_not_count() -> None:
    others = [
        accept("checkout", namespace="staging", scopes=[REFUND]),
        accept("reports", scopes=[ADMIN]),
    ]
    calls = [
        asking(CHARGE, REFUND, ADMIN, namespace="staging"),
        call("ledger") | {"scopes": [REFUND]},
    ]
    both = between([giving(CHARGE), *others], calls)
    assert [entry.place for entry in both.given] == [0]
    assert both.asked == ()
    assert both.held == ()


def test_a_peer_is_the_same_with_its_namespace_written_out() -> None:
    given = [accept("checkout", namespace="shop", scopes=[CHARGE])]
    assert between(given, [asking(CHARGE, namespace="shop")]).held == (CHARGE,)


def test_an_entry_knows_its_place_in_the_resource() -> None:
    accepts = [accept("reports"), giving(CHARGE, REFUND)]
    (entry,) = between(accepts, [asking(REFUND)]).given
    assert entry.steps() == ("spec", "accepts", 1)
    assert entry.steps(REFUND) == ("spec", "accepts", 1, "scopes", 1)
