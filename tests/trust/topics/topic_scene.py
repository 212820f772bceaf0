"""A shop with one topic, one producer and one consumer, and the states of its grants."""

from typing import Any

from tests import builders
from tests.builders import NOW, Manifest, domain, identity, namespace, stamp
from tests.messaging import (
    consumer,
    messaging,
    policy,
    producer,
)
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.topics.evaluation import TopicGrant, grants_of

ORDERS = Ref("shop", "orders")
CHECKOUT = Ref("shop", "checkout")
FULFILMENT = Ref("shop", "fulfilment")
SHOP = [namespace("shop", domain="production"), domain()]
BOTH = [identity("checkout"), identity("fulfilment")]
POLICY = policy(
    producers=[producer("checkout")],
    consumers=[consumer("fulfilment", "fulfilment")],
    deadLetter={"topic": "prod.orders.v1.dlq"},
)
USES: dict[tuple[str, str], tuple[list[Any], list[Any]]] = {
    CHECKOUT: ([ORDERS], []),
    FULFILMENT: ([], [ORDERS]),
}
GUEST = "guest"
"""Name of the identity that a rival policy names, in the policy's own namespace."""


def older(manifest: Manifest) -> Manifest:
    """Return a resource that was created before all others, whose times are unknown."""
    created = {"creationTimestamp": stamp(NOW)}
    return {**manifest, "metadata": manifest["metadata"] | created}


def agreed(rival: Manifest, uses: Any = None) -> dict[tuple[str, str], tuple[list[Any], ...]]:
    """Return the uses of the shop and of a guest that consents to every grant of a rival policy."""
    place = Ref.of(rival)
    guest = (place.namespace, GUEST)
    return {**(USES if uses is None else uses), guest: ([place], [place], [place])}


PUBLISH = GrantEntry(CHECKOUT, Action.PUBLISH)
CONSUME = GrantEntry(FULFILMENT, Action.CONSUME, "fulfilment")
DEAD_LETTER = GrantEntry(
    FULFILMENT, Action.PUBLISH, purpose=Purpose.DEAD_LETTERS, topic="prod.orders.v1.dlq"
)


def grants_by_entry(
    *manifests: Manifest, uses: Any = None, about: Messaging | None = None, of: Ref = ORDERS
) -> dict[GrantEntry, TopicGrant]:
    """Every grant that touches the policy."""
    declared = about or messaging(*manifests, uses=USES if uses is None else uses)
    grants = grants_of(builders.registry(*manifests), declared, of)
    return {grant.entry: grant for grant in grants}


def verdict(
    asked: GrantEntry, *manifests: Manifest, uses: Any = None, about: Messaging | None = None
) -> tuple[GrantState, str]:
    grant = grants_by_entry(*manifests, uses=uses, about=about)[asked]
    return grant.state, grant.reason
