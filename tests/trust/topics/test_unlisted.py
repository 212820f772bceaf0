"""A grant that a namespace without a list may declare is suspended, and is not removed."""

from tests import builders
from tests.messaging import broker, messaging
from tests.trust.topics.topic_scene import BOTH, CHECKOUT, ORDERS, POLICY, PUBLISH, SHOP, USES
from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.declarations.unlisted import UNLISTED
from troth.trust.topics.evaluation import grants_of, undecided


def without_list_of(namespace: str, *manifests: builders.Manifest) -> Registry:
    declared = builders.registry(*SHOP, *manifests)
    declared.put_namespace("messaging", {})
    declared.unlisted.expect({namespace})
    return declared


def reason(registry: Registry, about: Messaging) -> tuple[GrantState, str]:
    """Return the state and the reason of the grant to publish."""
    found = grants_of(registry, about, ORDERS)
    grant = next(each for each in found if each.entry.identity == CHECKOUT)
    return grant.state, grant.reason


def test_grant_of_an_unknown_identity_is_suspended_and_stays() -> None:
    declared, about = without_list_of(CHECKOUT.namespace), messaging(broker(), POLICY)
    assert reason(declared, about) == (GrantState.SUSPENDED, UNLISTED)
    assert undecided(declared, about, [CHECKOUT]) == {CHECKOUT}


def test_grant_by_an_unknown_policy_is_suspended_and_stays() -> None:
    declared, about = without_list_of(ORDERS.namespace, *BOTH), messaging(uses=USES)
    assert reason(declared, about) == (GrantState.SUSPENDED, UNLISTED)
    assert undecided(declared, about, [CHECKOUT]) == {CHECKOUT}


def test_grant_at_an_unknown_broker_is_suspended() -> None:
    declared = without_list_of("messaging", *BOTH)
    assert reason(declared, messaging(POLICY, uses=USES)) == (GrantState.SUSPENDED, UNLISTED)


def test_grant_at_a_known_broker_of_a_namespace_without_a_list_is_suspended() -> None:
    """Troth may list brokers there and not, for example, Secrets, so it plans nothing there."""
    declared = without_list_of("messaging", *BOTH)
    known = messaging(broker(), POLICY, uses=USES)
    assert reason(declared, known) == (GrantState.SUSPENDED, UNLISTED)
    declared.note_listed("messaging")
    assert reason(declared, known)[0] is GrantState.LIVE


def test_refusal_by_a_known_broker_of_a_namespace_without_a_list_closes() -> None:
    declared = without_list_of("messaging", *BOTH)
    refusing = messaging(broker(owns=["other."]), POLICY, uses=USES)
    assert reason(declared, refusing)[0] is GrantState.REFUSED


def test_grant_is_decided_once_the_namespace_is_listed() -> None:
    declared, about = without_list_of(ORDERS.namespace, *BOTH), messaging(uses=USES)
    declared.note_listed(ORDERS.namespace)
    assert reason(declared, about)[1] == "PolicyMissing"
    assert undecided(declared, about, [CHECKOUT]) == set()
    assert PUBLISH.identity == CHECKOUT
