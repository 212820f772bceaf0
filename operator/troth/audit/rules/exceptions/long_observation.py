"""Identities and brokers that Troth only observes, for longer than a month."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import identities_in, identity_object
from troth.audit.scene import Scene
from troth.resources.conditions import Condition
from troth.resources.identity.spec import Enforcement
from troth.resources.messaging.message_broker import BrokerMode
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time

LIMIT = timedelta(days=30)
FIELDS = {"ServiceIdentity": "enforcement", "MessageBroker": "mode"}
"""Field of each kind that says whether Troth only observes."""


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for identity in identities_in(scene, namespace):
        if identity.spec.enforcement is Enforcement.OBSERVE:
            since = _since(identity.metadata.creation_timestamp, identity.status.conditions)
            yield from _finding(scene, identity_object(identity.ref), since)
    for ref, broker in sorted(scene.world.brokers.messaging.brokers.items()):
        if ref.namespace == namespace and broker.spec.mode is BrokerMode.OBSERVE:
            since = _since(broker.metadata.creation_timestamp, broker.status.conditions)
            yield from _finding(scene, Object("MessageBroker", ref), since)


def _since(created: datetime | None, conditions: tuple[Condition, ...]) -> datetime | None:
    """Return the earliest time from which the mode may be Observe, None if it is not known.

    The condition says since when its status is the same, and it is the same for both modes.
    """
    times = [
        each.last_transition_time
        for each in conditions
        if each.type == "NetworkEnforced" and each.reason == "Observing"
    ]
    return max((created, *times)) if created is not None else None


def _finding(scene: Scene, subject: Object, since: datetime | None) -> Iterator[Finding]:
    if since is None or scene.now - since < LIMIT:
        return
    what = "its NetworkPolicy is not written" if subject.kind in _NETWORK else _BROKER
    yield Finding(
        RULE.id,
        subject,
        f"it is observed for longer than {LIMIT.days} days, and meanwhile {what}; enforce it",
        (
            Evidence(subject, f"spec.{FIELDS[subject.kind]}", "is Observe"),
            Evidence(
                subject,
                "metadata.creationTimestamp",
                f"Observe is possible since {format_time(since)}",
            ),
        ),
    )


_NETWORK = frozenset({"ServiceIdentity"})
_BROKER = "nothing that differs at the broker is corrected"


def _fix(_: Scene, finding: Finding) -> Fix:
    patch = {"spec": {FIELDS[finding.subject.kind]: "Enforce"}}
    step = (
        "Read in `troth check --traffic`, or in status.traffic, what enforcement would deny, and "
        "declare what is needed."
        if finding.subject.kind in _NETWORK
        else "Read in the condition InSync what Troth would change."
    )
    return Fix(patches=(Patch(finding.subject, patch),), steps=(step,))


RULE = Rule(
    id="TR505",
    name="LongObservation",
    title="An identity or a broker is in Observe mode for longer than 30 days.",
    severity=Severity.MEDIUM,
    reads=frozenset({"ServiceIdentity", "MessageBroker"}),
    find=_find,
    fix=_fix,
)
