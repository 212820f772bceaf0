"""Rights of foreign principals at a broker, as its status shows them."""

from collections.abc import Iterator

from troth.audit.brokers.observed import object_of, observed_brokers
from troth.audit.finding import Evidence
from troth.audit.scene import Scene
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import ForeignRight

RIGHTS = "status.observed.rights"


def rights_in(
    scene: Scene, namespace: str, *, wildcard: bool
) -> Iterator[tuple[MessageBroker, ForeignRight]]:
    """Yield the rights at the brokers of a namespace, those with a wildcard or those without."""
    for broker, observed in observed_brokers(scene, namespace):
        for each in observed.rights:
            if bool(each.wildcard) == wildcard:
                yield broker, each


def name_of(right: ForeignRight) -> str:
    """Return the principal of a right as a sentence names it."""
    return "every principal (*)" if right.principal == "*" else right.principal


def actions_of(right: ForeignRight) -> str:
    """Return the actions of a right, such as `publish and consume`."""
    return " and ".join(each.lower() for each in right.actions)


def right_evidence(broker: MessageBroker, right: ForeignRight) -> Evidence:
    """Return the evidence of a right."""
    more = " and others" if right.more_topics else ""
    topics = f" {', '.join(right.topics)}{more}" if right.topics else " any topic that it owns"
    shows = f"{name_of(right)} may {actions_of(right)}{topics}"
    return Evidence(object_of(broker), RIGHTS, shows)
