"""Secrets with the credential of a broker that several ServiceAccounts read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from troth.audit.exposure.running import running
from troth.audit.facts.broker_words import PORTS, is_login, names_credential
from troth.audit.facts.members import mapping
from troth.audit.facts.pods.pod_spec import Use
from troth.audit.facts.pods.workloads import Workload
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.rules.declared import entries, identity_patch
from troth.audit.scene import Manifest, Scene
from troth.audit.skeletons import (
    broker_for,
    identity_name,
    identity_of,
    identity_skeleton,
    named,
    ports_of,
    selector_of,
    ungoverned_step,
)
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.trust.selectors import matches
from troth.world.facts.objects import MANAGED_BY, OWNER_KIND, OWNER_NAME, SECRET_SUFFIX
from troth.world.index.brokers import credential_ref

DEFAULT = "default"
_USES = ("publishes", "consumes")
MOST_EVIDENCE = 16
"""ServiceAccounts, at most, that the evidence of a finding names."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Workload that reads a Secret, and how."""

    workload: Workload
    uses: tuple[Use, ...]

    @property
    def account(self) -> str:
        return self.workload.spec.service_account

    @property
    def evidence(self) -> Evidence:
        use = self.uses[0]
        how = f"in {use.variable}" if use.variable not in ("", "*") else "as a whole"
        if use.variable in ("", "*") and use.key:
            how = "as a file"
        field = f"{self.workload.path}.{use.field}"
        shows = f"reads the Secret {use.name} {how}, as the ServiceAccount {self.account}"
        return Evidence(self.workload.object, field, shows)


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    owners = _owned_secrets(scene, namespace)
    for name, readers in sorted(_readers(scene, namespace).items()):
        secret = Object("Secret", Ref(namespace, name))
        owner = owners.get(name)
        if owner is not None:
            foreign = [each for each in readers if not _is_of(owner, each.workload)]
            if foreign:
                yield Finding(
                    RULE.id,
                    secret,
                    f"Troth made it for the ServiceIdentity {owner.ref.name} alone, and other "
                    "workloads read it; give each a ServiceIdentity of its own",
                    _evidence(foreign),
                )
            continue
        sharing = [] if owner else _sharing(scene, secret, readers)
        if len({each.account for each in sharing}) > 1:
            yield Finding(
                RULE.id,
                secret,
                "workloads of several ServiceAccounts read this credential of a broker, so the "
                "broker cannot tell them apart; give each a ServiceIdentity and a grant of its own",
                _evidence(sharing),
            )


def _readers(scene: Scene, namespace: str) -> dict[str, list[_Reader]]:
    """Return the readers of each Secret that any workload of a namespace reads."""
    found: dict[str, list[_Reader]] = {}
    for workload in running(scene, namespace):
        uses: dict[str, list[Use]] = {}
        for use in workload.spec.secrets:
            uses.setdefault(use.name, []).append(use)
        for name, each in uses.items():
            found.setdefault(name, []).append(_Reader(workload, tuple(each)))
    return found


def _sharing(scene: Scene, secret: Object, readers: list[_Reader]) -> list[_Reader]:
    """Return the readers that are clients of a broker with the credential in a Secret."""
    if len({each.account for each in readers}) < 2:  # noqa: PLR2004 - most Secrets have one reader
        return []
    keys = tuple(mapping(scene.object(*secret) or {}, "data"))
    clients = [each for each in readers if not _is_broker(scene, each)]
    sharing = []
    for each in clients:
        uses = tuple(use for use in each.uses if names_credential(use, keys))
        if uses:
            sharing.append(_Reader(each.workload, uses))
    return sharing or _beside_one_broker(clients, keys)


def _beside_one_broker(clients: list[_Reader], keys: tuple[str, ...]) -> list[_Reader]:
    """Return the clients if all have this login alone, and the address of one broker beside it."""
    found, addresses = [], set()
    for each in clients:
        containers = {use.field.partition(".")[0] for use in each.uses if use.variable}
        logins = {
            use.name
            for use in each.workload.spec.secrets
            if use.field.partition(".")[0] in containers and is_login(use, ())
        }
        uses = tuple(use for use in each.uses if is_login(use, keys))
        beside = {
            (address.host, address.port)
            for address in each.workload.spec.addresses
            if address.port in PORTS and address.field.partition(".")[0] in containers
        }
        if uses and logins <= {uses[0].name} and len(beside) == 1:
            found.append(_Reader(each.workload, uses))
            addresses |= beside
    return found if len(addresses) == 1 else []


def _is_broker(scene: Scene, reader: _Reader) -> bool:
    """Return whether a reader is the broker itself, which has to know the credential.

    A container that listens at the port of a broker is one only if it has the credential.
    """
    workload = reader.workload
    namespace = workload.object.ref.namespace
    having = {each for use in reader.uses for each in use.containers}
    for each in workload.spec.ports:
        alone = workload.spec.containers == 1
        if each.number in PORTS and (alone or f"containers[{each.container}]" in having):
            return True
    return any(
        ref.namespace == namespace
        and broker.spec.workload is not None
        and matches(broker.spec.workload.pod_selector, workload.labels)
        for ref, broker in scene.world.brokers.messaging.brokers.items()
    )


def _owned_secrets(scene: Scene, namespace: str) -> dict[str, ServiceIdentity]:
    """Return the identities of the Secrets that Troth makes in a namespace, by the Secrets' names.

    A Secret that is in the scene must have Troth's labels as well.
    """
    registry, messaging = scene.world.registry, scene.world.brokers.messaging
    found: dict[str, ServiceIdentity] = {}
    for ref in sorted(registry.identities_in(namespace)):
        identity = registry.identities[ref]
        uses = messaging.uses(ref)
        policies = (messaging.policies.get(each) for each in uses.policies)
        names = {credential_ref(ref, each.broker).name for each in policies if each is not None}
        for name in (f"{ref.name}{SECRET_SUFFIX}", *sorted(names)):
            secret = scene.object("Secret", Ref(namespace, name))
            if secret is None or _owner(secret) == ref.name:
                found[name] = identity
    for secret in scene.objects("Secret", namespace):
        owner = registry.identities.get(Ref(namespace, _owner(secret)))
        if owner is not None:
            found[secret["metadata"]["name"]] = owner
    return found


def _owner(secret: Manifest) -> str:
    labels = mapping(secret, "metadata", "labels")
    ours = labels.get(MANAGED_BY) == "troth" and labels.get(OWNER_KIND) == "ServiceIdentity"
    return str(labels.get(OWNER_NAME)) if ours else ""


def _is_of(identity: ServiceIdentity, workload: Workload) -> bool:
    spec = identity.spec.workload
    return (
        matches(spec.pod_selector, workload.labels)
        and spec.service_account_name == workload.spec.service_account
    )


def _evidence(readers: list[_Reader]) -> tuple[Evidence, ...]:
    """Return one evidence for each ServiceAccount."""
    first = {each.account: each for each in reversed(readers)}
    ordered = sorted(first.items(), key=itemgetter(0))
    return tuple(reader.evidence for _, reader in ordered[:MOST_EVIDENCE])


# Fix


def _fix(scene: Scene, finding: Finding) -> Fix:
    namespace, name = finding.subject.ref
    readers = _readers(scene, namespace).get(name, [])
    owner = _owned_secrets(scene, namespace).get(name)
    if owner is not None:
        foreign = [each for each in readers if not _is_of(owner, each.workload)]
        return _apart(scene, finding, owner, foreign)
    return _granted(scene, finding, _sharing(scene, finding.subject, readers))


def _apart(scene: Scene, finding: Finding, owner: ServiceIdentity, foreign: list[_Reader]) -> Fix:
    """Return an identity for each workload that reads the Secret of another one."""
    namespace, secret = finding.subject.ref
    users = _users(foreign)
    manifests = [_skeleton(scene, each) for each in users if identity_of(scene, each[0]) is None]
    named_here = ", ".join(str(each.workload.object) for each in foreign[:MOST_EVIDENCE])
    steps = (
        *_default_step(foreign),
        *ungoverned_step(scene, namespace),
        f"Remove the Secret {secret} from {named_here}, and let each read its own.",
        (
            f"Rotate the credentials of the ServiceIdentity {owner.ref.name} with a "
            "CredentialRotation, because others have read them."
        ),
    )
    return Fix(tuple(manifests), steps=steps)


def _granted(scene: Scene, finding: Finding, readers: list[_Reader]) -> Fix:
    """Return an identity for each reader, and a policy if one broker is clear."""
    namespace, secret = finding.subject.ref
    broker = broker_for(scene, namespace)
    policy = Ref(namespace, named(f"{secret}-topic"))
    manifests: list[Manifest] = []
    patches: list[Patch] = []
    names: list[str] = []
    for workloads in _users(readers):
        identity = identity_of(scene, workloads[0])
        before = {
            member: [] if identity is None else entries(scene, identity.ref, member)
            for member in _USES
        }
        uses = {
            member: [*before[member], {"policy": {"name": policy.name}}]
            for member in (_USES if broker else ())
        }
        names.append(_name(workloads).name if identity is None else identity.ref.name)
        if identity is None:
            manifests.append(_skeleton(scene, workloads, **uses))
        elif broker:
            patches.append(identity_patch(identity.ref, **uses))
    steps = [*_default_step(readers), *ungoverned_step(scene, namespace)]
    if broker is None:
        steps.append(
            f"Declare the MessageBroker that the namespace {namespace} may use, and a TopicPolicy "
            f"for each topic with {', '.join(names)} as producers or consumers."
        )
    else:
        manifests.append(_policy(scene, broker, policy, names))
        steps += _topic_steps(scene, broker, finding)
    steps.append(f"Revoke the login in the Secret {secret} at the broker, and delete the Secret.")
    return Fix(tuple(manifests), tuple(patches), tuple(steps))


def _skeleton(scene: Scene, workloads: Sequence[Workload], **uses: list[Any]) -> Manifest:
    labels = selector_of(scene, workloads)
    ports = ports_of(workloads[0])
    return identity_skeleton(_name(workloads), _account(workloads), labels, ports, **uses)


def _users(readers: list[_Reader]) -> list[list[Workload]]:
    """Return the workloads by ServiceAccount; those of `default` are one user each."""
    found: dict[tuple[str, str], list[Workload]] = {}
    for each in readers:
        alone = str(each.workload.object) if each.account == DEFAULT else ""
        found.setdefault((each.account, alone), []).append(each.workload)
    return [found[key] for key in sorted(found)]


def _account(workloads: Sequence[Workload]) -> str:
    account = workloads[0].spec.service_account
    return identity_name(workloads[0]).name if account == DEFAULT else account


def _name(workloads: Sequence[Workload]) -> Ref:
    return Ref(workloads[0].object.ref.namespace, named(_account(workloads)))


def _policy(scene: Scene, broker: Ref, ref: Ref, identities: Sequence[str]) -> Manifest:
    spec = scene.world.brokers.messaging.brokers[broker].spec
    groups = [*spec.owns.group_prefixes, ""]
    topic: dict[str, Any] = {"name": f"{spec.owns.topic_prefixes[0]}replace-me"}
    if spec.owns.streams:
        topic["stream"] = spec.owns.streams[0]
    return {
        "apiVersion": API_VERSION,
        "kind": "TopicPolicy",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {
            "brokerRef": {"name": broker.name, "namespace": broker.namespace},
            "topic": topic,
            "environment": spec.environment,
            "producers": [{"identity": {"name": each}} for each in identities],
            "consumers": [
                {"identity": {"name": each}, "group": f"{groups[0]}{each}"} for each in identities
            ],
        },
    }


def _topic_steps(scene: Scene, broker: Ref, finding: Finding) -> Iterator[str]:
    namespace, secret = finding.subject.ref
    yield (
        "Write the real topic in the TopicPolicy, one policy for each topic; remove from its "
        "producers every workload that only consumes and from its consumers every one that "
        "only publishes, and the same from publishes and consumes of the identities."
    )
    policies = scene.world.brokers.messaging.at(broker)
    known = sorted(each.name for each in policies if each.namespace == namespace)
    if known:
        yield (
            f"If the topic is one of the TopicPolicies {', '.join(known[:MOST_EVIDENCE])}, add the "
            "identities there instead."
        )
    yield f"Let each workload read the Secret <identity>-{broker.name} instead of {secret}."


def _default_step(readers: list[_Reader]) -> Iterator[str]:
    if DEFAULT in {each.account for each in readers}:
        yield "Give each workload that runs as the ServiceAccount default one of its own (TR701)."


RULE = Rule(
    id="TR101",
    name="SharedBrokerSecret",
    title="Workloads of several ServiceAccounts read one credential of a broker.",
    severity=Severity.HIGH,
    reads=frozenset(
        {
            *("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"),
            "ServiceIdentity",
        }
    ),
    find=_find,
    fix=_fix,
)
