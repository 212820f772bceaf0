"""A grant whose declarations were not read lately is suspended."""

import pytest

from tests import builders
from tests.messaging import broker, messaging
from tests.trust.topics.topic_scene import BOTH, CHECKOUT, ORDERS, POLICY, PUBLISH, SHOP, USES
from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.declarations.unread import UNREAD, Part
from troth.trust.topics.evaluation import TopicGrant, grants_of

MANIFESTS = (*SHOP, *BOTH, broker(), POLICY)
NEEDED = [
    *(Part("ServiceIdentity", each) for each in ("", CHECKOUT.namespace)),
    *(Part("TopicPolicy", each) for each in ("", ORDERS.namespace)),
    *(Part("MessageBroker", each) for each in ("", "messaging")),
    *(Part("TrustDomain"), Part("Namespace")),
]


def grant(*unread: Part) -> TopicGrant:
    declared = builders.registry(*MANIFESTS)
    for part in unread:
        declared.note_unread(part, unread=True)
    found = grants_of(declared, messaging(*MANIFESTS, uses=USES), ORDERS)
    return next(each for each in found if each.entry == PUBLISH)


@pytest.mark.parametrize("part", NEEDED, ids=str)
def test_grant_of_unread_declarations_is_suspended(part: Part) -> None:
    found = grant(part)
    assert (found.state, found.reason) == (GrantState.SUSPENDED, UNREAD)


@pytest.mark.parametrize(
    "part", [Part("ServiceIdentity", "elsewhere"), Part("WebhookEndpoint"), Part("ConfigMap")]
)
def test_grant_does_not_depend_on_other_unread_objects(part: Part) -> None:
    assert grant(part).state is GrantState.LIVE
