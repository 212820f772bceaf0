"""The world: facts in memory, and who must be looked at again when one of them changes.

Fed with raw objects by the informers and by the answers to Troth's own writes, read by planning.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from troth.pki.certificates import BACKDATE
from troth.resources.credential_rotation import CredentialRotation
from troth.resources.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.resources.service_identity import ServiceIdentity
from troth.resources.topic_policy import TopicPolicy
from troth.resources.trust_domain import TrustDomain
from troth.resources.webhook_endpoint import WebhookEndpoint
from troth.trust.registry import Registry
from troth.trust.selectors import matches
from troth.trust.topic_grants import Judged
from troth.world import observe
from troth.world.affected import (
    around_domain,
    around_identity,
    around_namespaces,
    concerns_named_peers_alone,
    federating,
    given_anew,
    named_anew,
    views_of,
)
from troth.world.authorities import Authorities
from troth.world.broker_secrets import is_credential
from troth.world.brokers import Brokers
from troth.world.dated import dated
from troth.world.facts import (
    OWNER_NAME,
    Content,
    Endpoint,
    Fact,
    IdentitySecret,
    Manifest,
    Unreadable,
)
from troth.world.keys import (
    Key,
    Keys,
    broker_key,
    domain_key,
    identity_key,
    policy_key,
    view_key,
    webhook_key,
)
from troth.world.ledger import broker_of
from troth.world.owners import named_after, owner_of, wanting_credential
from troth.world.parsing import parsed
from troth.world.rotating import rotating
from troth.world.rotations import Rotations, rotation_key, target_key
from troth.world.schemas import SCHEMAS, Schemas, known_as
from troth.world.services import Services, reaches
from troth.world.token_keys import TokenKeys
from troth.world.webhook_signing import WebhookSigning, is_signing
from troth.world.webhooks import take_webhook
from troth.world.workloads import BUDGET, KINDS, Workloads

F = TypeVar("F", bound=Fact)


@dataclass(slots=True)
class World:
    """Everything that planning may know."""

    own_namespace: str
    """Where Troth runs, and where authorities are kept."""
    registry: Registry = field(default_factory=Registry)
    workloads: Workloads = field(default_factory=Workloads)
    """What identities may have restarted."""
    unreadable: dict[Key, Unreadable] = field(default_factory=dict)
    """Resources whose spec cannot be understood."""
    terminating: set[str] = field(default_factory=set)
    """Namespaces that are being deleted: nothing can be created there."""
    authorities: Authorities = field(init=False)
    brokers: Brokers = field(init=False)
    tokens: TokenKeys = field(init=False)
    rotations: Rotations = field(init=False)
    signing: WebhookSigning = field(default_factory=WebhookSigning)
    services: Services = field(default_factory=Services)
    schemas: Schemas = field(default_factory=Schemas)
    judged: Judged = field(init=False)
    """The grants of policies."""
    secrets: dict[Ref, IdentitySecret] = field(default_factory=dict)
    policies: dict[Ref, Content] = field(default_factory=dict)
    bundles: dict[Ref, Content] = field(default_factory=dict)
    api_endpoints: frozenset[Endpoint] = frozenset()
    foreign: dict[tuple[str, Ref], datetime] = field(default_factory=dict)
    """Objects of a wanted name that Troth does not own, and when that was last seen."""
    refused: dict[tuple[str, Ref], str] = field(default_factory=dict)
    """Children whose last write was refused, and why."""
    uptime: float = 0.0
    """Seconds on the process's monotonic clock, told before every observation and every plan."""
    set_forward: timedelta = timedelta(0)
    """By how much somebody has set the wall clock forward since the process began."""
    _bundles_in: dict[str, set[Ref]] = field(default_factory=dict)
    _slices: dict[str, frozenset[Endpoint]] = field(default_factory=dict)
    _versions: dict[tuple[str, Ref], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authorities = Authorities(self.own_namespace)
        self.brokers = Brokers(self.own_namespace)
        self.judged = Judged(self.registry, self.brokers.messaging)
        self.tokens = TokenKeys(self.own_namespace)
        self.rotations = Rotations(self.own_namespace)

    # Feeding

    def observe(self, manifest: Manifest) -> Keys:
        """Take in an object as the API server has it; return what must be looked at again.

        An object that is not newer than the one known, such as the echo of a write whose answer
        was taken in already, changes nothing.
        """
        if not self.is_news(manifest):
            return set()
        kind, ref = known_as(manifest), Ref.of(manifest)
        self._versions[kind, ref] = _version(manifest)
        self.foreign.pop((kind, ref), None)
        self.refused.pop((kind, ref), None)
        affected = self._taken(kind, ref, manifest)
        if manifest["kind"] == "ConfigMap":
            other = "ConfigMap" if kind == SCHEMAS else SCHEMAS
            affected |= self.forget(other, ref, _version(manifest))
        return affected

    def forget(self, kind: str, ref: Ref, version: int) -> Keys:
        """Take in that an object was gone at a resource version; return what to look at again.

        An object that is known at a later version was made anew since, and stays.
        """
        known = self._versions.get((kind, ref))
        if known is None or known > version:
            return set()
        del self._versions[kind, ref]
        return self._taken(kind, ref, None)

    def forget_written(self, kind: str, ref: Ref) -> Keys:
        """Take in that Troth itself deleted an object."""
        return self.forget(kind, ref, self._versions.get((kind, ref), -1))

    def is_news(self, manifest: Manifest) -> bool:
        """Say whether an object is newer than the one known."""
        version = _version(manifest)
        place = known_as(manifest), Ref.of(manifest)
        return not version or version > self._versions.get(place, -1)

    def knows(self, kind: str, ref: Ref) -> bool:
        """Say whether there is an object, as far as is known."""
        return (kind, ref) in self._versions

    def note_foreign(self, kind: str, ref: Ref, now: datetime) -> None:
        """Note that an object of a wanted name exists which Troth does not own."""
        self.foreign[kind, ref] = now

    def _taken(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        revision = self.registry.revision
        affected = self._take(kind)(ref, manifest)
        if self.registry.revision != revision:
            affected |= views_of(self.registry, affected)
            for named in affected:
                self.tokens.entries.pop(named.ref, None)
        affected |= self.brokers.leaving_with(affected)
        # of a policy itself its own status is no news; see where it is taken in
        others = affected - {policy_key(ref)} if kind == "TopicPolicy" else affected
        self.judged.forget(key.ref for key in others if key.kind == "TopicPolicy")
        return affected | self.rotations.concerned(affected)

    def _take(self, kind: str) -> Callable[[Ref, Manifest | None], Keys]:
        if kind in KINDS:
            return partial(self._take_workload, kind)
        return {
            "TrustDomain": self._take_domain,
            "ServiceIdentity": self._take_identity,
            "MessageBroker": self._take_broker,
            "TopicPolicy": self._take_topic_policy,
            "CredentialRotation": self._take_rotation,
            "WebhookEndpoint": self._take_webhook,
            "Namespace": self._take_namespace,
            "Service": self._take_service,
            "EndpointSlice": self._take_endpoints,
            "Secret": self._take_secret,
            "ConfigMap": self._take_bundle,
            SCHEMAS: self._take_schemas,
            "NetworkPolicy": self._take_policy,
            BUDGET: self._take_budget,
        }[kind]

    def _take_domain(self, ref: Ref, manifest: Manifest | None) -> Keys:
        key, registry = domain_key(ref.name), self.registry
        before = registry.domains.get(ref.name)
        affected = around_domain(self.registry, before) if before else set()
        after, fault = parsed(manifest, TrustDomain)
        was_unreadable = self.unreadable.pop(key, None) is not None
        if after is not None:
            registry.put_domain(after)
        elif manifest is None:
            registry.drop_domain(ref.name)
        else:
            registry.refuse_domain(ref.name, fault)
            self.unreadable[key] = Unreadable(manifest, fault)
        if before is not None and after is not None and before.spec == after.spec:
            return {key}
        affected |= self.brokers.everything()
        if after is None or was_unreadable:  # whom it would have governed cannot be told
            affected |= {identity_key(identity) for identity in registry.identities}
            affected |= {domain_key(name) for name in registry.domains}
        else:
            affected |= around_domain(self.registry, after)
        return affected | {key, view_key(ref.name)}

    def _take_identity(self, ref: Ref, manifest: Manifest | None) -> Keys:
        key, registry = identity_key(ref), self.registry
        before, declared = registry.identities.get(ref), registry.declared(ref)
        after, fault = parsed(manifest, ServiceIdentity)
        self.unreadable.pop(key, None)
        if after is not None and before is not None:
            if before.spec == after.spec:
                registry.identities[ref] = after
                return {key}
            if concerns_named_peers_alone(before.spec, after.spec):
                registry.put_identity(after)
                anew = named_anew(declared, registry.declared(ref))
                return {key} | anew | given_anew(before, after)
        affected = around_identity(self.registry, before) if before else set()
        affected |= self.brokers.take_identity(
            ref, after, readable=after is not None or manifest is None
        )
        if any(each and each.spec.on_rotation for each in (before, after)):
            affected |= self._rotating()
        if after is not None:
            registry.put_identity(after)
            affected |= around_identity(self.registry, after)
        elif manifest is None:
            registry.drop_identity(ref)
        else:
            registry.refuse_identity(ref, fault)
            self.unreadable[key] = Unreadable(manifest, fault)
        affected |= {identity_key(other) for other in registry.naming(ref)}
        colliding = (each.ref for each in affected if each.kind == "ServiceIdentity")
        unread = (each for each in registry.invalid_identities if each.namespace == ref.namespace)
        return affected | {key} | self.brokers.around_identities({*colliding, *unread})

    def _take_broker(self, ref: Ref, manifest: Manifest | None) -> Keys:
        after, fault = parsed(manifest, MessageBroker)
        self._note_unreadable(broker_key(ref), manifest, fault)
        return {broker_key(ref)} | self.brokers.take_broker(ref, after, fault)

    def _take_topic_policy(self, ref: Ref, manifest: Manifest | None) -> Keys:
        before = self.brokers.messaging.policies.get(ref)
        after, fault = parsed(manifest, TopicPolicy)
        self._note_unreadable(policy_key(ref), manifest, fault)
        affected = self.brokers.take_policy(ref, after, fault)
        declared = self.brokers.messaging.policies.get(ref)
        if before is None or declared is None or before.spec != declared.spec:
            self.judged.forget([ref])
        return {policy_key(ref)} | affected

    def _note_unreadable(self, key: Key, manifest: Manifest | None, fault: str) -> None:
        self.unreadable.pop(key, None)
        if manifest is not None and fault:
            self.unreadable[key] = Unreadable(manifest, fault)

    def _take_rotation(self, ref: Ref, manifest: Manifest | None) -> Keys:
        key, before = rotation_key(ref), self.rotations.by_ref.get(ref)
        after, fault = parsed(manifest, CredentialRotation)
        self.unreadable.pop(key, None)
        self.rotations.drop(ref)
        if after is not None:
            self.rotations.put(after)
        elif manifest is not None:
            self.unreadable[key] = Unreadable(manifest, fault)
        if before is not None and after is not None and before.spec == after.spec:
            return {key}
        return {key} | {target_key(each) for each in (before, after) if each is not None}

    def _take_webhook(self, ref: Ref, manifest: Manifest | None) -> Keys:
        after, fault = parsed(manifest, WebhookEndpoint)
        self._note_unreadable(webhook_key(ref), manifest, fault)
        return take_webhook(self.registry, ref, after, fault)

    def _take_namespace(self, ref: Ref, manifest: Manifest | None) -> Keys:
        name, registry = ref.name, self.registry
        before = registry.namespaces.get(name)
        was_terminating = name in self.terminating
        self.terminating.discard(name)
        if manifest is None:
            registry.drop_namespace(name)
            after = None
        else:
            after = manifest["metadata"].get("labels") or {}
            registry.put_namespace(name, after)
            if manifest["metadata"].get("deletionTimestamp"):
                self.terminating.add(name)
        if before == after and was_terminating == (name in self.terminating):
            return set()
        claiming = {
            domain_key(domain.metadata.name)
            for domain in registry.domains.values()
            for labels in (before, after)
            if labels is not None and matches(domain.spec.namespace_selector, labels)
        }
        for bundle in self._bundles_in.get(name, ()):  # whoever left one here may now remove it
            claiming |= owner_of(self.bundles[bundle])
        affected = around_namespaces(self.registry, {name}) | claiming
        return affected | self.brokers.around_namespaces({name}, registry.identities_in(name))

    def _take_service(self, ref: Ref, manifest: Manifest | None) -> Keys:
        changed = self.services.take(ref, manifest)
        return {
            identity_key(identity)
            for identity in self.registry.identities_in(ref.namespace)
            if any(reaches(service, self._pods(identity)) for service in changed)
        }

    def _take_endpoints(self, ref: Ref, manifest: Manifest | None) -> Keys:
        self._slices.pop(ref.name, None)
        if manifest is not None:
            self._slices[ref.name] = observe.endpoints(manifest)
        before = self.api_endpoints
        self.api_endpoints = frozenset().union(*self._slices.values())
        if before == self.api_endpoints:
            return set()
        return {identity_key(identity) for identity in self.registry.calling_api()}

    def _take_secret(self, ref: Ref, manifest: Manifest | None) -> Keys:
        credential = manifest if manifest and is_credential(manifest) else None
        affected = self.brokers.take_secret(ref, credential, self.uptime)
        affected |= wanting_credential(ref, self.registry, self.brokers.messaging)
        affected |= self.signing.take(ref, manifest, self.uptime, self.registry)
        identitys = manifest if manifest and not (credential or is_signing(manifest)) else None
        after = observe.identity_secret(identitys) if identitys else None
        affected |= self._take_written(self.secrets, ref, after) | self._rotating()
        if ref.namespace != self.own_namespace:
            return affected
        self.authorities.take(ref.name, manifest, self.uptime)
        keys_changed = self.tokens.take(ref.name, manifest, self.uptime)
        for name, domain in self.registry.domains.items():
            if self.authorities.concern(domain, ref):
                affected |= around_domain(self.registry, domain) | {domain_key(name)}
            if ref in (self.tokens.ref(domain), self.tokens.leaf_ref(domain)):
                affected |= {domain_key(name), view_key(name)}
                if keys_changed:
                    affected |= federating(self.registry, domain)
        return affected

    def _take_bundle(self, ref: Ref, manifest: Manifest | None) -> Keys:
        if broker_of(ref) is not None:
            return self.brokers.take_ledger(ref, manifest)
        after = observe.config_map(manifest) if manifest else None
        self._bundles_in.setdefault(ref.namespace, set()).discard(ref)
        if after is not None:
            self._bundles_in[ref.namespace].add(ref)
        governor = self.registry.governance(ref.namespace).domain
        wanting = {domain_key(governor.metadata.name)} if governor else set()
        return self._take_written(self.bundles, ref, after) | wanting | self._rotating()

    def _take_schemas(self, ref: Ref, manifest: Manifest | None) -> Keys:
        return self.schemas.take(ref, manifest, self.brokers.messaging)

    def _take_policy(self, ref: Ref, manifest: Manifest | None) -> Keys:
        after = observe.network_policy(manifest) if manifest else None
        return self._take_written(self.policies, ref, after)

    def _take_workload(self, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
        news = self.workloads.take(kind, ref, manifest, self.uptime)
        waiting = self.registry.restarting(kind, ref) if news else frozenset()
        return {*map(identity_key, waiting), *(self._rotating() if waiting else ())}

    def _take_budget(self, ref: Ref, manifest: Manifest | None) -> Keys:
        news = self.workloads.take_budget(ref, manifest)
        return set(map(identity_key, self.registry.restarting_in(ref.namespace) if news else ()))

    def _take_written(self, facts: dict[Ref, F], ref: Ref, after: F | None) -> Keys:
        """Replace a fact; affected are its owners by label, and whoever wants its name."""
        before = facts.pop(ref, None)
        if after is not None:
            facts[ref] = dated(after, before, self.uptime)
        return (
            owner_of(before)
            | owner_of(after)
            | named_after(ref, self.registry, self.brokers.messaging)
        )

    def _rotating(self) -> Keys:
        return rotating(self.registry, self.authorities, self.tokens)

    # Reading

    def over_at(self, end: datetime) -> datetime:
        """Return when what ends at a moment is over by every clock.

        Others may be behind by up to BACKDATE, and ours may have been set forward.
        """
        return end + BACKDATE + self.set_forward

    def service_names(self, identity: Ref) -> list[str]:
        """Return the Services that reach nothing but an identity's pods, sorted."""
        return sorted(self.services.reaching(identity.namespace, self._pods(identity)))

    def bundles_of(self, domain: str) -> list[Content]:
        """Return the bundle ConfigMaps that were written for a trust domain."""
        return [
            bundle for bundle in self.bundles.values() if bundle.labels.get(OWNER_NAME) == domain
        ]

    def _pods(self, identity: Ref) -> LabelSelector:
        return self.registry.identities[identity].spec.workload.pod_selector


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("resourceVersion") or 0)
