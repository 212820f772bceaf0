"""Listeners of a broker that accept clients without a credential."""

from collections.abc import Iterator

from troth.audit.brokers.observed import object_of, observed_brokers
from troth.audit.finding import Evidence, Finding, Fix
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.observed_broker import Authentication
from troth.resources.reported import Severity

LISTENERS = "status.observed.listeners"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for broker, observed in observed_brokers(scene, namespace):
        place = object_of(broker)
        for each in observed.listeners:
            if each.authentication is Authentication.NONE:
                yield Finding(
                    RULE.id,
                    place,
                    f"the listener {each.name} accepts clients without a credential; require one",
                    (Evidence(place, LISTENERS, f"{each.name} has authentication None"),),
                    about=each.name,
                )


def _fix(scene: Scene, finding: Finding) -> Fix:
    broker = scene.world.brokers.messaging.brokers[finding.subject.ref]
    listener = finding.about
    if broker.spec.type is BrokerType.KAFKA:
        change = (
            f"Set the protocol of {listener} to SASL_SSL in listener.security.protocol.map, or "
            f"listener.name.{listener.lower()}.ssl.client.auth=required, on every server."
        )
    else:
        change = (
            "Remove default_sentinel and no_auth_user from the configuration of every server, or "
            "remove the listener."
        )
    moved = "Before that, give each client of the listener a credential of its own."
    return Fix(steps=(moved, change))


RULE = Rule(
    id="TR804",
    name="AnonymousAccess",
    title="A message broker accepts clients without a credential.",
    severity=Severity.CRITICAL,
    reads=frozenset({"MessageBroker"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:Listeners"}),
)
