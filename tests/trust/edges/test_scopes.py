"""A token has the scopes that are granted, requested, and on a live edge."""

from typing import Any

import pytest

from tests import builders
from tests.builders import accept, call, parsed_identity
from troth.trust.edges.scopes import Scopes, scopes_between

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


def test_scope_is_held_if_granted_and_requested() -> None:
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
def test_one_sided_scope_is_not_held(
    accepts: list[builders.Manifest], calls: list[builders.Manifest]
) -> None:
    assert between(accepts, calls).held == ()


def test_scope_without_a_live_edge_is_not_held() -> None:
    assert between([giving(CHARGE)], [asking(CHARGE)], live=()).held == ()


def test_entry_counts_only_with_a_live_port() -> None:
    accepts = [giving(CHARGE), giving(ADMIN, ports=("admin",))]
    calls = [asking(CHARGE, ADMIN, ports=("https", "admin"))]
    assert between(accepts, calls).held == (CHARGE,)
    assert between(accepts, calls, live=("admin",)).held == (ADMIN,)
    assert between(accepts, calls, live=("https", "admin")).held == (ADMIN, CHARGE)


def test_entries_for_other_peers_do_not_count() -> None:
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


def test_peer_may_be_written_with_its_namespace() -> None:
    given = [accept("checkout", namespace="shop", scopes=[CHARGE])]
    assert between(given, [asking(CHARGE, namespace="shop")]).held == (CHARGE,)


def test_entry_has_its_path_in_the_resource() -> None:
    accepts = [accept("reports"), giving(CHARGE, REFUND)]
    (entry,) = between(accepts, [asking(REFUND)]).given
    assert entry.steps() == ("spec", "accepts", 1)
    assert entry.steps(REFUND) == ("spec", "accepts", 1, "scopes", 1)
