"""An edge whose declarations were not read lately is suspended."""

import pytest

from tests.builders import NOW, accept, call, domain, identity, namespace, registry
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.unread import CONSENTING, UNREAD, Part
from troth.trust.edges.declared import edges_of
from troth.trust.edges.evaluation import Edge

CALLEE = Ref("shop", "payments")
MANIFESTS = (
    domain(),
    *(namespace(each, domain="production") for each in ("shop", "web")),
    identity("payments", ports=["https"], accepts=[accept("web", namespace="web")]),
    identity("web", "web", calls=[call("payments", namespace="shop")]),
)
NEEDED = [
    *(Part("ServiceIdentity", each) for each in ("", "shop", "web")),
    *(Part("TrustDomain"), Part("Namespace")),
]
OTHERS = [
    Part("ServiceIdentity", "elsewhere"),
    *(Part("WebhookEndpoint", each) for each in ("", "shop")),
    *(Part("TopicPolicy", "shop"), Part("NetworkPolicy", "shop"), Part("Secret")),
]


def edge(*unread: Part) -> Edge:
    declared = registry(*MANIFESTS)
    for part in unread:
        declared.note_unread(part, unread=True)
    (found,) = edges_of(declared, CALLEE, NOW)
    return found


@pytest.mark.parametrize("part", NEEDED, ids=str)
def test_edge_of_unread_declarations_is_suspended(part: Part) -> None:
    found = edge(part)
    assert (found.state, found.reason) == (EdgeState.SUSPENDED, UNREAD)
    assert part.kind in found.message
    assert (part.namespace or "the cluster") in found.message


@pytest.mark.parametrize("part", OTHERS, ids=str)
def test_edge_does_not_depend_on_other_unread_objects(part: Part) -> None:
    assert edge(part).state is EdgeState.LIVE


def test_edge_is_live_once_its_declarations_are_read_again() -> None:
    declared = registry(*MANIFESTS)
    part = Part("ServiceIdentity", "web")
    assert declared.note_unread(part, unread=True)
    revision = declared.revision
    assert not declared.note_unread(part, unread=True)
    assert declared.revision == revision
    assert declared.note_unread(part, unread=False)
    assert not declared.note_unread(part, unread=False)
    (found,) = edges_of(declared, CALLEE, NOW)
    assert found.state is EdgeState.LIVE


def test_only_declarations_can_be_unread() -> None:
    declared = registry()
    for kind in ("Secret", "NetworkPolicy", "Service", "EndpointSlice"):
        assert kind not in CONSENTING
        assert not declared.note_unread(Part(kind), unread=True)


def test_refused_edge_closes_though_a_declaration_is_unread() -> None:
    revoked = identity("payments", ports=["https"], accepts=[])
    declared = registry(*MANIFESTS[:3], revoked, MANIFESTS[4])
    declared.note_unread(Part("ServiceIdentity", "web"), unread=True)
    (found,) = edges_of(declared, CALLEE, NOW)
    assert found.state is EdgeState.AWAITING_CALLEE
