"""Principals of identities that are connected from pods of others."""

from collections import defaultdict
from collections.abc import Iterator

from troth.audit.brokers.observed import (
    Addresses,
    connection_evidence,
    observed_brokers,
    pod_evidence,
    selects,
)
from troth.audit.commands import command
from troth.audit.facts.pods.workloads import Pod
from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule, Scope
from troth.audit.scene import Scene
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import ObservedBroker, ObservedClient
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.world.index.broker_keys import identity_of
from troth.world.index.brokers import credential_ref


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    addresses = Addresses(scene)
    for broker, observed in observed_brokers(scene):
        for client in observed.clients:
            yield from _of(scene, broker, observed, client, addresses)


def _of(
    scene: Scene,
    broker: MessageBroker,
    observed: ObservedBroker,
    client: ObservedClient,
    addresses: Addresses,
) -> Iterator[Finding]:
    identity = _identity(scene, broker, client)
    if identity is None:
        return
    source = addresses.source(client, observed.observed_at)
    others: dict[Object, list[tuple[str, Pod]]] = defaultdict(list)
    for address, pod in source.pods:
        if not selects(scene, identity, pod):
            others[scene.workload_of(pod.workload)].append((address, pod))
    place = Object("ServiceIdentity", identity)
    for workload, pods in sorted(others.items()):
        found = tuple(address for address, _ in pods)
        yield Finding(
            RULE.id,
            place,
            f"{_what(client)} at MessageBroker {broker.ref} is used by {workload}, which the "
            "identity does not select; replace the credential, and find out how that workload "
            "got it",
            (
                connection_evidence(broker, client, found + source.elsewhere),
                *(pod_evidence(*each, workload) for each in pods),
                Evidence(place, "spec.workload.podSelector", "does not select these pods"),
            ),
            about=f"{broker.ref} {workload}",
        )


def _identity(scene: Scene, broker: MessageBroker, client: ObservedClient) -> Ref | None:
    """Return the identity that alone may connect as these clients, None if there is none.

    A broker that shows groups alone is asked for groups of policies. Such a group is of one
    identity, unless the broker's owner shares it.
    """
    if client.principal is not None:
        found = identity_of(broker.spec.owns.principal_prefix, client.principal)
        return found if found in scene.world.registry.identities else None
    if client.group is None or client.group in broker.spec.owns.shared_groups:
        return None
    users = scene.world.brokers.messaging.by_group(broker.ref, client.group)
    identities = {each.identity for _, each in users}
    return identities.pop() if len(identities) == 1 else None


def _what(client: ObservedClient) -> str:
    return "its principal" if client.principal is not None else f"its group {client.group}"


def _fix(scene: Scene, finding: Finding) -> Fix:
    namespace, _, name = finding.about.partition(" ")[0].partition("/")
    secret = credential_ref(finding.subject.ref, Ref(namespace, name))
    identity = scene.world.registry.identities.get(finding.subject.ref)
    replace = (
        f"Delete the Secret {secret}; Troth makes a new credential at once, and revokes the old."
    )
    if scene.world.brokers.messaging.brokers[Ref(namespace, name)].spec.by_certificate:
        ref = finding.subject.ref
        rotate = command(
            "troth", "rotate", f"sid/{ref.name}", "--namespace", ref.namespace, "--now"
        )
        replace = f"Rotate the certificate with {rotate}; the old one is valid until it expires."
    workload = finding.about.partition(" ")[2]
    select = (
        f"If {workload} is part of the service, extend spec.workload.podSelector of the identity "
        f"to its pods, which must run as the ServiceAccount "
        f"{identity.spec.workload.service_account_name if identity else 'of the identity'}."
    )
    return Fix(
        steps=(
            f"Find out how {workload} got the credential: who may read the Secret {secret}?",
            replace,
            select,
        )
    )


RULE = Rule(
    id="TR103",
    name="PrincipalUsedElsewhere",
    title="A principal of an identity is connected to its broker from pods of another workload.",
    severity=Severity.CRITICAL,
    reads=frozenset({"MessageBroker", "Pod", "Job", "ServiceIdentity", "TopicPolicy"}),
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,
    sources=frozenset({"brokers", "brokers:Clients"}),
)
