"""Principals that bypass the rules of a broker."""

from collections.abc import Iterator

from troth.audit.brokers.observed import object_of, observed_brokers
from troth.audit.finding import Evidence, Finding, Fix, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.reported import Severity

UNNAMED = "super.users"
"""Stands for the super users of Kafka, whose names it does not disclose."""
SUPER_USERS = "status.observed.superUsers"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for broker, observed in observed_brokers(scene, namespace):
        place = object_of(broker)
        for name in observed.super_users:
            shows = (
                "a server sets super.users, and Kafka does not disclose the names"
                if name == UNNAMED
                else f"{name} is connected as a user of the system account"
            )
            who = "super users, whose names Kafka does not disclose," if name == UNNAMED else name
            bypass = "bypass" if name == UNNAMED else "bypasses"
            yield Finding(
                RULE.id,
                place,
                f"{who} {bypass} every rule of the broker; remove all that are not needed, and "
                "list the others under spec.administrators",
                (Evidence(place, SUPER_USERS, shows),),
                about=name,
            )


def _fix(scene: Scene, finding: Finding) -> Fix:
    broker = scene.world.brokers.messaging.brokers[finding.subject.ref]
    known = [*broker.spec.administrators, finding.about]
    review = (
        "Read super.users in server.properties of every server, and keep Troth's administrator and "
        "the servers alone."
        if finding.about == UNNAMED
        else f"Find out who uses {finding.about}, and revoke the user if nobody needs it."
    )
    return Fix(
        patches=(Patch(finding.subject, {"spec": {"administrators": sorted(set(known))}}),),
        steps=(review, "Then apply the patch, which accepts those that are left."),
    )


RULE = Rule(
    id="TR803",
    name="SuperUser",
    title="A principal besides Troth's bypasses the rules of a message broker.",
    severity=Severity.MEDIUM,
    reads=frozenset({"MessageBroker"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:SuperUsers"}),
)
