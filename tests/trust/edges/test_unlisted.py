"""An edge to a namespace without a list of its objects is suspended."""

import pytest

from tests.builders import NOW, accept, call, domain, identity, namespace, registry
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.unlisted import UNLISTED
from troth.trust.edges.declared import edges_of

CALLEE, CALLER = Ref("shop", "payments"), Ref("web", "web")
PLACES = (domain(), *(namespace(each, domain="production") for each in ("shop", "web")))
SIDES = {
    CALLEE: identity("payments", ports=["https"], accepts=[accept("web", namespace="web")]),
    CALLER: identity("web", "web", calls=[call("payments", namespace="shop")]),
}


def without_list_of(namespace: str, *sides: Ref) -> Registry:
    """Return a registry that knows some identities, and has no list of a namespace."""
    declared = registry(*PLACES, *(SIDES[each] for each in sides))
    declared.unlisted.expect({namespace})
    declared.unlisted.note_created(namespace, 7)
    return declared


@pytest.mark.parametrize(("known", "unlisted"), [(CALLEE, CALLER), (CALLER, CALLEE)], ids=str)
def test_edge_to_an_unlisted_namespace_is_suspended(known: Ref, unlisted: Ref) -> None:
    declared = without_list_of(unlisted.namespace, known)
    (found,) = edges_of(declared, known, NOW)
    assert (found.state, found.reason) == (EdgeState.SUSPENDED, UNLISTED)
    assert unlisted.namespace in found.message


@pytest.mark.parametrize("unlisted", [CALLEE, CALLER], ids=str)
def test_edge_is_suspended_though_both_identities_are_known(unlisted: Ref) -> None:
    declared = without_list_of(unlisted.namespace, CALLEE, CALLER)
    (found,) = edges_of(declared, CALLEE, NOW)
    assert (found.state, found.reason) == (EdgeState.SUSPENDED, UNLISTED)
    assert declared.note_listed(unlisted.namespace)
    assert not declared.note_listed(unlisted.namespace)
    (found,) = edges_of(declared, CALLEE, NOW)
    assert found.state is EdgeState.LIVE


def test_missing_peer_in_a_listed_namespace_closes_the_edge() -> None:
    declared = without_list_of("web", CALLEE)
    declared.note_listed("web")
    (found,) = edges_of(declared, CALLEE, NOW)
    assert found.reason == "PeerMissing"


def test_only_a_namespace_that_is_listed_by_itself_can_be_unlisted() -> None:
    declared = registry(*PLACES)
    declared.unlisted.note_created("shop", 7)
    assert "shop" not in declared.unlisted
    assert declared.unlisted_ones() == []
