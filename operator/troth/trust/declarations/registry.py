"""Index of the declared resources, so that every query is a lookup and never a scan."""

from collections import ChainMap
from collections.abc import KeysView, Mapping
from datetime import datetime

from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.claims import Claim, Claims, Rank
from troth.trust.declarations.governance import (
    NOTHING_READ,
    Governance,
    UnreadDomain,
    govern,
    without_list,
)
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.declarations.peers import NO_PEERS, Declared
from troth.trust.declarations.restarts import workloads
from troth.trust.declarations.sharing import (
    SharedIdentity,
    WorkloadClaims,
    shared_with,
    shared_with_many,
)
from troth.trust.declarations.territories import Territories, territories
from troth.trust.declarations.trust_records import TrustRecords
from troth.trust.declarations.unlisted import Unlisted
from troth.trust.declarations.unread import Part, Unread
from troth.trust.declarations.watched import EVERYWHERE, Watched
from troth.trust.declarations.webhooks import Webhooks
from troth.trust.multimap import Multimap
from troth.trust.selectors import matches


class Registry:
    """Declared resources of a cluster, or of a folder of manifests."""

    def __init__(self, watched: Watched = EVERYWHERE) -> None:
        self.watched = watched
        self.revision = 0
        """Number of changes so far."""
        self.domains: dict[str, TrustDomain] = {}
        self.identities: dict[Ref, ServiceIdentity] = {}
        """Readable identities that are not being deleted."""
        self.terminating_identities: dict[Ref, ServiceIdentity] = {}
        """Identities that are being deleted and have a finalizer. They have no edges and no grants,
        but still claim their pods, ServiceAccount and audience.
        """
        self.claimants: Mapping[Ref, ServiceIdentity] = ChainMap(
            self.identities, self.terminating_identities
        )
        """Every readable identity, including those that are being deleted."""
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.invalid_domains: dict[str, str] = {}
        """Trust domains with an unreadable spec, and the reasons. `domains` has those of which an
        earlier spec is known.
        """
        self.unread_domains: dict[str, UnreadDomain] = {}
        """The other unreadable trust domains, with the parts of their specs that can be read."""
        self.invalid_identities: dict[Ref, str] = {}
        self.unconfined_domains: frozenset[str] = frozenset()
        """Trust domains whose root is not confined, by its certificate, to their own identities."""
        self.unread = Unread()
        self.unlisted = Unlisted()
        self.webhooks = Webhooks()
        self.claims = Claims()
        """Audiences and DNS names that identities claim. One that becomes unreadable or is being
        deleted keeps its claims.
        """
        self.unapplied: dict[Ref, Narrowing] = {}
        """Narrowings of documents that cannot be written; the edges that they cover are closed."""
        self.trust_records = TrustRecords()
        self._in_namespace = Multimap[str, Ref]()
        self._workload_claims: dict[str, WorkloadClaims] = {}
        self._declared: dict[Ref, Declared] = {}
        self._naming = Multimap[Ref, Ref]()
        self._observing = Multimap[str, Ref]()
        self._calling_api: set[Ref] = set()
        self._taking_tokens: set[Ref] = set()
        self._restarting = Multimap[tuple[str, Ref], Ref]()
        self._restarting_in = Multimap[str, Ref]()
        self._governance: dict[str, Governance] = {}
        self._known_territories: Territories | None = None
        self._shared: dict[Ref, SharedIdentity | None] = {}

    # Changes

    def put_domain(self, domain: TrustDomain) -> None:
        """Add or replace a trust domain."""
        self.drop_domain(domain.metadata.name)
        self.domains[domain.metadata.name] = domain

    def refuse_domain(
        self,
        name: str,
        sentence: str,
        *,
        earlier: TrustDomain | None = None,
        unread: UnreadDomain = NOTHING_READ,
    ) -> None:
        """Add a trust domain that exists but is invalid.

        `earlier` has the last readable spec, which stays in force. Without it, `unread` is known.
        """
        self.drop_domain(name)
        self.invalid_domains[name] = sentence
        if earlier is not None:
            self.domains[name] = earlier
        else:
            self.unread_domains[name] = unread

    def drop_domain(self, name: str) -> None:
        """Remove a trust domain."""
        for known in (self.domains, self.invalid_domains, self.unread_domains):
            known.pop(name, None)
        self._domains_changed()

    def _domains_changed(self) -> None:
        self.revision += 1
        self._governance.clear()
        self._known_territories = None

    def note_unconfined(self, domains: frozenset[str]) -> None:
        """Set the trust domains whose root is not confined to them."""
        self.revision += self.unconfined_domains != domains
        self.unconfined_domains = domains

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Add or replace a namespace and its labels."""
        if self.namespaces.get(name) == labels:
            return
        self.revision += 1
        self.namespaces[name] = labels
        self.webhooks.note_namespace(name)
        self._governance.pop(name, None)
        self._known_territories = None

    def drop_namespace(self, name: str) -> None:
        """Remove a namespace."""
        self.revision += 1
        self.namespaces.pop(name, None)
        self.webhooks.note_namespace(name)
        self._governance.pop(name, None)
        self._known_territories = None

    def put_identity(self, identity: ServiceIdentity) -> None:
        """Add or replace an identity. One that is being deleted no longer declares anything."""
        self.drop_identity(identity.ref)
        self._workload_claims.setdefault(identity.ref.namespace, WorkloadClaims()).add(identity)
        self.claims.put_identity(identity)
        if identity.metadata.deletion_timestamp is not None:
            self.terminating_identities[identity.ref] = identity
            self._forget_shared(identity)
            return
        self.identities[identity.ref] = identity
        self._in_namespace.add(identity.ref.namespace, identity.ref)
        for workload in workloads(identity):
            self._restarting.add(workload, identity.ref)
            self._restarting_in.add(identity.ref.namespace, identity.ref)
        declared = self._declared[identity.ref] = Declared.by(identity)
        for named in declared.names:
            self._naming.add(named, identity.ref)
        if identity.spec.enforcement is Enforcement.OBSERVE:
            self._observing.add(identity.ref.namespace, identity.ref)
        if any(call.kubernetes_api for call in identity.spec.calls):
            self._calling_api.add(identity.ref)
        if identity.spec.authentication.token is not None:
            self._taking_tokens.add(identity.ref)
        self._forget_shared(identity)

    def refresh_identity(self, identity: ServiceIdentity) -> None:
        """Replace an identity of which only status or metadata changed."""
        there = self.identities if identity.ref in self.identities else self.terminating_identities
        there[identity.ref] = identity
        self.revision += self.claims.put_identity(identity)

    def refuse_identity(
        self, ref: Ref, sentence: str, claims: Mapping[Claim, Rank] | None = None
    ) -> None:
        """Add an identity that exists but is invalid. It keeps its accepted claims."""
        self.drop_identity(ref)
        self.invalid_identities[ref] = sentence
        self.claims.put(ref, claims or {})

    def drop_identity(self, ref: Ref) -> None:
        """Remove an identity."""
        self.revision += 1
        self.webhooks.note_identity(ref)
        self.invalid_identities.pop(ref, None)
        self.claims.put(ref, {})
        before = self.claimants.get(ref)
        if before is None:
            return
        self._forget_shared(before)
        claims = self._workload_claims[ref.namespace]
        claims.remove(before)
        if not claims.identities:
            del self._workload_claims[ref.namespace]
        self.terminating_identities.pop(ref, None)
        if self.identities.pop(ref, None) is not None:
            self._in_namespace.discard(ref.namespace, ref)
            self._observing.discard(ref.namespace, ref)
            self._calling_api.discard(ref)
            self._taking_tokens.discard(ref)
            for workload in workloads(before):
                self._restarting.discard(workload, ref)
                self._restarting_in.discard(ref.namespace, ref)
            for named in self._declared.pop(ref).names:
                self._naming.discard(named, ref)

    def note_unapplied(self, ref: Ref, narrowing: Narrowing | None) -> bool:
        """Set what an identity's document still grants too widely; return whether it changed."""
        if (self.unapplied.get(ref) or None) == (narrowing or None):
            return False
        self.revision += 1
        if narrowing:
            self.unapplied[ref] = narrowing
        else:
            del self.unapplied[ref]
        return True

    def note_unread(self, part: Part, *, unread: bool) -> bool:
        """Set whether a part of the declarations is unread; return whether that changed."""
        changed = self.unread.note(part, unread=unread)
        self.revision += changed
        return changed

    def note_listed(self, namespace: str) -> bool:
        """Take in that a namespace's objects are known; return whether they were not before."""
        changed = self.unlisted.note_listed(namespace)
        if changed:
            self._domains_changed()
        return changed

    def note_trust_record(self, ref: Ref, since: datetime | None, *, former: bool) -> bool:
        """Set the time in a record of gateway-only trust; return whether it changed."""
        changed = self.trust_records.note(ref, since, former=former)
        self.revision += changed
        return changed

    def put_webhook(self, endpoint: WebhookEndpoint) -> None:
        """Add or replace a WebhookEndpoint."""
        self.revision += 1
        self.webhooks.put(endpoint)

    def refuse_webhook(self, ref: Ref, sentence: str) -> None:
        """Add a WebhookEndpoint that exists but is invalid."""
        self.revision += 1
        self.webhooks.refuse(ref, sentence)

    def drop_webhook(self, ref: Ref) -> None:
        """Remove a WebhookEndpoint."""
        self.revision += 1
        self.webhooks.drop(ref)

    # Queries

    def identities_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace, without those that are being deleted."""
        return frozenset(self._in_namespace.of(namespace))

    def claimants_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace, including those that are being deleted."""
        claims = self._workload_claims.get(namespace)
        return frozenset(claims.identities) if claims else frozenset()

    def declared(self, ref: Ref) -> Declared:
        """Return the declared peers of an identity, none if it does not exist."""
        return self._declared.get(ref, NO_PEERS)

    def naming(self, ref: Ref) -> frozenset[Ref]:
        """Return the identities that name this one, which need not exist."""
        return frozenset(self._naming.of(ref))

    def is_unreadable(self, ref: Ref) -> bool:
        """Return whether an identity exists, or may exist, of which Troth cannot read the spec."""
        unknown = ref.namespace in self.unlisted and ref not in self.claimants
        return unknown or ref in self.invalid_identities

    def unreadable(self) -> frozenset[Ref]:
        """Return the identities that cannot be read, with those that only others name."""
        named = self._naming.keys() if self.unlisted_ones() else ()
        return frozenset({*self.invalid_identities, *filter(self.is_unreadable, named)})

    def unlisted_ones(self) -> list[str]:
        """Return the existing namespaces whose objects are not listed, sorted."""
        return [each for each in self.unlisted if each in self.namespaces]

    def neighbours(self, ref: Ref) -> frozenset[Ref]:
        """Return the identities that share a declared edge with this one, on whichever side."""
        named = self.declared(ref).names | self.webhooks.beside(ref)
        return self.naming(ref) | {peer for peer in named if peer in self.identities}

    def calling_api(self) -> frozenset[Ref]:
        """Return the identities that call the cluster's API server."""
        return frozenset(self._calling_api)

    def observing(self) -> KeysView[str]:
        """Return the namespaces that have an identity in Observe mode."""
        return self._observing.keys()

    def taking_tokens(self) -> frozenset[Ref]:
        """Return the identities that require tokens from their callers."""
        return frozenset(self._taking_tokens)

    def takes_tokens(self, ref: Ref) -> bool:
        """Return whether an identity requires tokens from its callers."""
        return ref in self._taking_tokens

    def restarting(self, kind: str, ref: Ref) -> frozenset[Ref]:
        """Return the identities for which a workload is restarted, which need not exist."""
        return frozenset(self._restarting.of((kind, ref)))

    def restarting_in(self, namespace: str) -> frozenset[Ref]:
        """Return the identities of a namespace for which any workload is restarted."""
        return frozenset(self._restarting_in.of(namespace))

    def colliding(self, identity: ServiceIdentity) -> frozenset[Ref]:
        """Return the other identities of its namespace that could have the same pods or account.

        One that is being deleted counts until it is gone: its pods may still run with its
        certificate, and a deletion alone must open nothing.
        """
        claims = self._claims_in(identity.ref.namespace)
        return frozenset(claims.with_same_pods(identity) | claims.with_same_account(identity))

    def affected_by_sharing(self, identity: ServiceIdentity) -> frozenset[Ref]:
        """Return the others to which it makes a difference whether this identity is declared.

        That is at most a few: an identity that collides with many does not depend on each.
        """
        return frozenset(self._claims_in(identity.ref.namespace).affected_by(identity))

    def shares_pods(self, identity: ServiceIdentity) -> bool:
        """Return whether another identity could select the same pods."""
        return bool(self._claims_in(identity.ref.namespace).with_same_pods(identity))

    def shares_account(self, identity: ServiceIdentity) -> bool:
        """Return whether another identity has the same ServiceAccount."""
        return bool(self._claims_in(identity.ref.namespace).with_same_account(identity))

    def _claims_in(self, namespace: str) -> WorkloadClaims:
        return self._workload_claims.get(namespace) or WorkloadClaims()

    def governed_by(self, domain: str) -> tuple[str, ...]:
        """Return the namespaces that a trust domain governs, sorted."""
        return tuple(self._territories().governed.get(domain, ()))

    def left_by(self, domain: str) -> tuple[str, ...]:
        """Return the namespaces that only a trust domain selects that is being deleted, sorted."""
        return tuple(self._territories().left.get(domain, ()))

    def contested(self, domain: str) -> str | None:
        """Return the first namespace that a trust domain and another one select, None for none."""
        return self._territories().contested.get(domain)

    def _territories(self) -> Territories:
        """Return the namespaces by trust domain, which a domain's plan needs several times."""
        if self._known_territories is None:
            self._known_territories = territories(self.namespaces, self.governance)
        return self._known_territories

    def claimed_by(self, domain: TrustDomain) -> list[str]:
        """Return the namespaces that a trust domain selects, governed or not, sorted."""
        selector = domain.spec.namespace_selector
        return sorted(name for name, labels in self.namespaces.items() if matches(selector, labels))

    def governance(self, namespace: str) -> Governance:
        """Return the governance of a namespace."""
        known = self._governance.get(namespace)
        if known is None:
            labels, watched = self.namespaces.get(namespace), namespace in self.watched
            known = govern(namespace, labels, self.domains, self.unread_domains, watched=watched)
            if namespace in self.unlisted:
                known = without_list(namespace, known)
            if labels is not None:  # a name that is gone would stay in the cache
                self._governance[namespace] = known
        return known

    def shared_identity(self, ref: Ref) -> SharedIdentity | None:
        """Return what an identity shares with others, None if nothing."""
        if ref not in self._shared:
            self._shared[ref] = self._share(ref)
        return self._shared[ref]

    def _share(self, ref: Ref) -> SharedIdentity | None:
        identity = self.identities[ref]
        if shares := self._claims_in(ref.namespace).crowd(identity):
            return shared_with_many(identity, shares)
        other = min(self.colliding(identity), default=None)
        return shared_with(identity, self.claimants[other]) if other is not None else None

    def _forget_shared(self, identity: ServiceIdentity) -> None:
        """Clear cached collisions of an identity's namespace, because a collision is mutual."""
        for ref in (identity.ref, *self.affected_by_sharing(identity)):
            self._shared.pop(ref, None)
