"""What is declared, indexed so that every question is a lookup and never a scan of everything."""

from collections import ChainMap, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declared import Ports, accepted, called
from troth.trust.governance import Governance, govern
from troth.trust.narrowing import Narrowing
from troth.trust.selectors import matches
from troth.trust.sharing import collide, sharing_message
from troth.trust.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class SharedIdentity:
    """Another identity that claims the same ServiceAccount or could select the same pods."""

    other: Ref
    message: str


@dataclass(frozen=True, slots=True)
class Declared:
    """Whom an identity names: those it accepts, those it calls, and a gateway it trusts."""

    accepts: Ports
    calls: Ports
    names: frozenset[Ref]

    @classmethod
    def by(cls, identity: ServiceIdentity) -> Self:
        """Return what an identity declares."""
        accepts, calls = accepted(identity), called(identity)
        trust = identity.spec.authentication.gateway_only
        gateways = {trust.gateway.seen_from(identity.ref.namespace)} if trust else set()
        return cls(accepts, calls, frozenset(gateways.union(accepts, calls)))


NOTHING = Declared({}, {}, frozenset())


def workloads(identity: ServiceIdentity) -> tuple[tuple[str, Ref], ...]:
    """Return the kind and place of every workload that an identity has restarted."""
    declared, here = identity.spec.on_rotation, identity.ref.namespace
    named = declared.restart if declared else ()
    return tuple((each.kind.value, Ref(here, each.name)) for each in named)


class Registry:
    """The declared resources of a cluster, or of a folder of manifests."""

    def __init__(self) -> None:
        self.revision = 0
        """How often anything that is declared has changed."""
        self.domains: dict[str, TrustDomain] = {}
        self.identities: dict[Ref, ServiceIdentity] = {}
        """Those that can be read, without those that are being deleted."""
        self.terminating_identities: dict[Ref, ServiceIdentity] = {}
        """Those that are being deleted and that a finalizer still holds: they have no edge and no
        grant any more, but still claim their pods, their ServiceAccount and their audience."""
        self.claimants: Mapping[Ref, ServiceIdentity] = ChainMap(
            self.identities, self.terminating_identities
        )
        """Every identity that can be read, those that are being deleted included."""
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.invalid_domains: dict[str, str] = {}
        self.invalid_identities: dict[Ref, str] = {}
        self.unconfined_domains: frozenset[str] = frozenset()
        """Trust domains whose root could issue identities of others, as its certificate says."""
        self.webhooks = Webhooks()
        self.unapplied: dict[Ref, Narrowing] = {}
        """Narrowings of identities' documents that cannot be written: their edges are closed."""
        self._in_namespace: dict[str, set[Ref]] = defaultdict(set)
        self._claiming_in: dict[str, set[Ref]] = defaultdict(set)
        self._with_label: dict[tuple[str, str], set[Ref]] = defaultdict(set)
        self._with_value: dict[tuple[str, str, str], set[Ref]] = defaultdict(set)
        self._with_account: dict[tuple[str, str], set[Ref]] = defaultdict(set)
        self._declared: dict[Ref, Declared] = {}
        self._naming: dict[Ref, set[Ref]] = defaultdict(set)
        self._calling_api: set[Ref] = set()
        self._taking_tokens: set[Ref] = set()
        self._with_audience: dict[str, set[Ref]] = defaultdict(set)
        self._restarting: dict[tuple[str, Ref], set[Ref]] = defaultdict(set)
        self._governance: dict[str, Governance] = {}
        self._shared: dict[Ref, SharedIdentity | None] = {}

    # What is declared

    def put_domain(self, domain: TrustDomain) -> None:
        """Declare or replace a trust domain."""
        self.invalid_domains.pop(domain.metadata.name, None)
        self.domains[domain.metadata.name] = domain
        self._domains_changed()

    def refuse_domain(self, name: str, sentence: str) -> None:
        """Note a trust domain that exists and cannot be understood."""
        self.domains.pop(name, None)
        self.invalid_domains[name] = sentence
        self._domains_changed()

    def drop_domain(self, name: str) -> None:
        """Forget a trust domain."""
        self.domains.pop(name, None)
        self.invalid_domains.pop(name, None)
        self._domains_changed()

    def _domains_changed(self) -> None:
        self.revision += 1
        self._governance.clear()

    def note_unconfined(self, domains: frozenset[str]) -> None:
        """Note which trust domains have a root that is not confined to them."""
        self.revision += self.unconfined_domains != domains
        self.unconfined_domains = domains

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Note a namespace and its labels."""
        self.revision += self.namespaces.get(name) != labels
        self.namespaces[name] = labels
        self._governance.pop(name, None)

    def drop_namespace(self, name: str) -> None:
        """Forget a namespace."""
        self.revision += 1
        self.namespaces.pop(name, None)
        self._governance.pop(name, None)

    def put_identity(self, identity: ServiceIdentity) -> None:
        """Declare or replace an identity; one that is being deleted declares nothing any more."""
        self.drop_identity(identity.ref)
        self._claiming_in[identity.ref.namespace].add(identity.ref)
        for index in self._workload_indexes(identity):
            index.add(identity.ref)
        if (audience := _audience(identity)) is not None:
            self._with_audience[audience].add(identity.ref)
        if identity.metadata.deletion_timestamp is not None:
            self.terminating_identities[identity.ref] = identity
            self._forget_shared(identity)
            return
        self.identities[identity.ref] = identity
        self._in_namespace[identity.ref.namespace].add(identity.ref)
        for workload in workloads(identity):
            self._restarting[workload].add(identity.ref)
        declared = self._declared[identity.ref] = Declared.by(identity)
        for named in declared.names:
            self._naming[named].add(identity.ref)
        if any(call.kubernetes_api for call in identity.spec.calls):
            self._calling_api.add(identity.ref)
        if identity.spec.authentication.token is not None:
            self._taking_tokens.add(identity.ref)
        self._forget_shared(identity)

    def refresh_identity(self, identity: ServiceIdentity) -> None:
        """Replace an identity of which only the status or the metadata changed."""
        there = self.identities if identity.ref in self.identities else self.terminating_identities
        there[identity.ref] = identity

    def refuse_identity(self, ref: Ref, sentence: str) -> None:
        """Note an identity that exists and cannot be understood."""
        self.drop_identity(ref)
        self.invalid_identities[ref] = sentence

    def drop_identity(self, ref: Ref) -> None:
        """Forget an identity."""
        self.revision += 1
        self.invalid_identities.pop(ref, None)
        before = self.claimants.get(ref)
        if before is None:
            return
        self._forget_shared(before)
        self._claiming_in[ref.namespace].discard(ref)
        for index in self._workload_indexes(before):
            index.discard(ref)
        if (audience := _audience(before)) is not None:
            self._with_audience[audience].discard(ref)
        self.terminating_identities.pop(ref, None)
        if self.identities.pop(ref, None) is not None:
            self._in_namespace[ref.namespace].discard(ref)
            self._calling_api.discard(ref)
            self._taking_tokens.discard(ref)
            for workload in workloads(before):
                self._restarting[workload].discard(ref)
            for named in self._declared.pop(ref).names:
                self._naming[named].discard(ref)

    def note_unapplied(self, ref: Ref, narrowing: Narrowing | None) -> bool:
        """Note which narrowing of an identity's document cannot be written, None or an empty one
        for none; say whether that is news.
        """
        if (self.unapplied.get(ref) or None) == (narrowing or None):
            return False
        self.revision += 1
        if narrowing:
            self.unapplied[ref] = narrowing
        else:
            del self.unapplied[ref]
        return True

    def put_webhook(self, endpoint: WebhookEndpoint) -> None:
        """Declare or replace a WebhookEndpoint."""
        self.revision += 1
        self.webhooks.put(endpoint)

    def refuse_webhook(self, ref: Ref, sentence: str) -> None:
        """Note a WebhookEndpoint that exists and cannot be understood."""
        self.revision += 1
        self.webhooks.refuse(ref, sentence)

    def drop_webhook(self, ref: Ref) -> None:
        """Forget a WebhookEndpoint."""
        self.revision += 1
        self.webhooks.drop(ref)

    # What follows

    def identities_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace, without those that are being deleted."""
        return frozenset(self._in_namespace.get(namespace, ()))

    def claimants_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace, those that are being deleted included."""
        return frozenset(self._claiming_in.get(namespace, ()))

    def declared(self, ref: Ref) -> Declared:
        """Return what an identity declares of its peers; nothing, where there is none."""
        return self._declared.get(ref, NOTHING)

    def naming(self, ref: Ref) -> frozenset[Ref]:
        """Return the identities that name this one, whether it exists or not."""
        return frozenset(self._naming.get(ref, ()))

    def neighbours(self, ref: Ref) -> frozenset[Ref]:
        """Return the identities that share a declared edge with this one, whoever declared it."""
        named = self.declared(ref).names | self.webhooks.beside(ref)
        return self.naming(ref) | {peer for peer in named if peer in self.identities}

    def calling_api(self) -> frozenset[Ref]:
        """Return the identities that call the cluster's API server."""
        return frozenset(self._calling_api)

    def taking_tokens(self) -> frozenset[Ref]:
        """Return the identities that ask their callers for tokens."""
        return frozenset(self._taking_tokens)

    def takes_tokens(self, ref: Ref) -> bool:
        """Say whether an identity asks its callers for tokens."""
        return ref in self._taking_tokens

    def same_audience(self, identity: ServiceIdentity) -> frozenset[Ref]:
        """Return the other identities that declare the same audience, wherever they are."""
        audience = _audience(identity)
        if audience is None:
            return frozenset()
        return frozenset(self._with_audience.get(audience, ())) - {identity.ref}

    def restarting(self, kind: str, ref: Ref) -> frozenset[Ref]:
        """Return the identities that have a workload restarted, whether it exists or not."""
        return frozenset(self._restarting.get((kind, ref), ()))

    def restarting_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace that have any workload restarted."""
        return frozenset(
            ref for ref in self.identities_in(namespace) if workloads(self.identities[ref])
        )

    def colliding(self, identity: ServiceIdentity) -> frozenset[Ref]:
        """Return the other identities of its namespace that could carry its pods or account.

        One that is being deleted counts until it is gone: its pods may still run with its
        certificate, and a deletion alone opens nothing.
        """
        return frozenset(
            other
            for other in self._may_collide(identity)
            if other != identity.ref
            and collide(identity.spec.workload, self.claimants[other].spec.workload)
        )

    def _may_collide(self, identity: ServiceIdentity) -> set[Ref]:
        """Return few candidates: those that ask no other value of a label this one asks for."""
        workload, namespace = identity.spec.workload, identity.ref.namespace
        everyone = self._claiming_in[namespace]
        candidates = everyone
        for key, value in workload.pod_selector.match_labels.items():
            same = self._with_value[namespace, key, value]
            asking = self._with_label[namespace, key]
            found = same if len(asking) == len(everyone) else same | (everyone - asking)
            candidates = min(candidates, found, key=len)
        return candidates | self._with_account[namespace, workload.service_account_name]

    def _workload_indexes(self, identity: ServiceIdentity) -> Iterator[set[Ref]]:
        workload, namespace = identity.spec.workload, identity.ref.namespace
        yield self._with_account[namespace, workload.service_account_name]
        for key, value in workload.pod_selector.match_labels.items():
            yield self._with_label[namespace, key]
            yield self._with_value[namespace, key, value]

    def governed_by(self, domain: str) -> list[str]:
        """Return the namespaces that a trust domain governs, sorted."""
        return sorted(
            namespace
            for namespace in self.namespaces
            if (governor := self.governance(namespace).domain) is not None
            and governor.metadata.name == domain
        )

    def claimed_by(self, domain: TrustDomain) -> list[str]:
        """Return the namespaces that a trust domain selects, governed or not, sorted."""
        selector = domain.spec.namespace_selector
        return sorted(name for name, labels in self.namespaces.items() if matches(selector, labels))

    def governance(self, namespace: str) -> Governance:
        """Say which trust domain governs a namespace."""
        known = self._governance.get(namespace)
        if known is None:
            known = self._governance[namespace] = govern(
                namespace, self.namespaces.get(namespace), self.domains, self.invalid_domains
            )
        return known

    def shared_identity(self, ref: Ref) -> SharedIdentity | None:
        """Return the first identity of the namespace that this one collides with."""
        if ref not in self._shared:
            self._shared[ref] = self._share(ref)
        return self._shared[ref]

    def _share(self, ref: Ref) -> SharedIdentity | None:
        identity = self.identities[ref]
        other = min(self.colliding(identity), default=None)
        if other is None:
            return None
        return SharedIdentity(other, sharing_message(identity, self.claimants[other]))

    def _forget_shared(self, identity: ServiceIdentity) -> None:
        """Forget what an identity that comes or goes may change: who collides is mutual."""
        for ref in (identity.ref, *self.colliding(identity)):
            self._shared.pop(ref, None)


def _audience(identity: ServiceIdentity) -> str | None:
    token = identity.spec.authentication.token
    return token.audience if token else None
