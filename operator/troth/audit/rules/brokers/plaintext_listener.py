"""Listeners of a broker, or connections to it, without TLS."""

from collections.abc import Iterator

from troth.audit.brokers.observed import brokers_in, object_of
from troth.audit.finding import Evidence, Finding, Fix, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.observed_broker import Encryption
from troth.resources.reported import Severity

LISTENERS = "status.observed.listeners"
ALWAYS_TLS = frozenset({BrokerType.KAFKA, BrokerType.NATS})
"""Types of brokers whose clients use TLS with or without the member `tls`."""
SPEC = ""
"""`about` of a finding in the spec."""


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for broker in brokers_in(scene, namespace):
        place, type_ = object_of(broker), broker.spec.type
        if type_ not in ALWAYS_TLS and broker.spec.described.tls is None:
            yield Finding(
                RULE.id,
                place,
                "clients connect to the broker without TLS, and send their passwords and messages "
                f"in plain text; set spec.{type_}.tls",
                (Evidence(place, f"spec.{type_}.tls", "is not set"),),
                about=SPEC,
            )
        observed = broker.status.observed
        for each in observed.listeners if observed is not None else ():
            if each.encryption is Encryption.NONE:
                yield Finding(
                    RULE.id,
                    place,
                    f"the listener {each.name} accepts connections without TLS; require TLS, or "
                    "remove the listener",
                    (Evidence(place, LISTENERS, f"{each.name} has encryption None"),),
                    about=each.name,
                )


def _fix(scene: Scene, finding: Finding) -> Fix:
    broker = scene.world.brokers.messaging.brokers[finding.subject.ref]
    if finding.about == SPEC:
        patch = Patch(finding.subject, {"spec": {str(broker.spec.type): {"tls": {}}}})
        return Fix(patches=(patch,), steps=("First configure TLS on the broker's servers.",))
    change = f"Configure TLS on the listener {finding.about} of every server, or remove it."
    if broker.spec.type is BrokerType.KAFKA:
        change = (
            f"Set the protocol of {finding.about} to SASL_SSL or SSL in "
            "listener.security.protocol.map on every server, or remove it from listeners."
        )
    return Fix(steps=("Move the clients of the listener to one with TLS.", change))


RULE = Rule(
    id="TR805",
    name="PlaintextListener",
    title="A message broker accepts connections without TLS.",
    severity=Severity.HIGH,
    reads=frozenset({"MessageBroker"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:Listeners"}),
)
