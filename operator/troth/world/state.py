"""State of the world: facts in memory."""

from dataclasses import dataclass, field
from datetime import datetime

from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.declarations.registry import Registry
from troth.trust.multimap import Multimap
from troth.trust.topics.evaluation import GrantCache
from troth.world.facts.deletion import Deletion
from troth.world.facts.objects import (
    FIGHTING,
    OWNER_KIND,
    OWNER_NAME,
    Content,
    Endpoint,
    Fact,
    Fault,
    IdentitySecret,
    Manifest,
    Service,
    Unreadable,
)
from troth.world.index.authorities import Authorities
from troth.world.index.brokers import Brokers
from troth.world.index.handovers import Signers, rotating
from troth.world.index.rotations import Rotations
from troth.world.index.schemas import Schemas
from troth.world.index.services import Services
from troth.world.index.signatures import Signatures
from troth.world.index.token_keys import TokenKeys
from troth.world.index.webhook_signing import WebhookSigning
from troth.world.index.webhooks import WebhookState
from troth.world.index.workloads import Workloads
from troth.world.keys import Key, Keys
from troth.world.memo import Memo
from troth.world.versions import Version, Versions


@dataclass(slots=True)
class WorldState:
    """Everything that planning may read. `World` takes in changes."""

    own_namespace: str
    """Namespace in which Troth runs, and which holds authorities."""
    registry: Registry = field(default_factory=Registry)
    workloads: Workloads = field(default_factory=Workloads)
    """Workloads that identities may let Troth restart."""
    unreadable: dict[Key, Unreadable] = field(default_factory=dict)
    """Resources with an invalid spec."""
    quarantined: dict[tuple[str, Ref], str] = field(default_factory=dict)
    """Unreadable objects of any kind, and the reasons; see `quarantine`."""
    deletions: dict[Key, Deletion] = field(default_factory=dict)
    """Brokers and policies that are being deleted, in every namespace, by keys of metadata. Empty
    for Troth that watches all namespaces."""
    terminating: set[str] = field(default_factory=set)
    """Namespaces that are being deleted; nothing can be created there."""
    authorities: Authorities = field(init=False)
    brokers: Brokers = field(init=False)
    tokens: TokenKeys = field(init=False)
    rotations: Rotations = field(init=False)
    signers: Signers = field(default_factory=Signers)
    signing: WebhookSigning = field(default_factory=WebhookSigning)
    webhooks: WebhookState = field(init=False)
    services: Services = field(default_factory=Services)
    schemas: Schemas = field(default_factory=Schemas)
    grants: GrantCache = field(init=False)
    """Cache of the grants of policies."""
    memo: Memo = field(default_factory=Memo)
    secrets: dict[Ref, IdentitySecret] = field(default_factory=dict)
    signatures: Signatures = field(default_factory=Signatures)
    """Cache of which authority signed the leaf in each of `secrets`."""
    policies: dict[Ref, Content] = field(default_factory=dict)
    bundles: dict[Ref, Content] = field(default_factory=dict)
    api_endpoints: frozenset[Endpoint] = frozenset()
    foreign: dict[tuple[str, Ref], datetime] = field(default_factory=dict)
    """Foreign objects of a wanted name, and the time at which each was last seen."""
    refused: dict[tuple[str, Ref], str] = field(default_factory=dict)
    """Owned objects whose last write was rejected, and the reasons."""
    passing: set[tuple[str, Ref]] = field(default_factory=set)
    """Refusals that say something of the API server, and may be over in a moment."""
    contested: dict[tuple[str, Ref], str] = field(default_factory=dict)
    """Owned objects that another client changes each time Troth writes them, and the messages."""
    bundles_in: Multimap[str, Ref] = field(default_factory=Multimap)
    """Bundles by namespace."""
    slices: dict[str, frozenset[Endpoint]] = field(default_factory=dict)
    _versions: Versions = field(default_factory=Versions)

    def __post_init__(self) -> None:
        self.authorities = Authorities(self.own_namespace)
        self.brokers = Brokers(self.own_namespace)
        self.grants = GrantCache(self.registry, self.brokers.messaging)
        self.tokens = TokenKeys(self.own_namespace)
        self.rotations = Rotations(self.own_namespace)
        self.webhooks = WebhookState(self.registry)

    def version(self, kind: str, ref: Ref) -> Version | None:
        """Return the version at which an object is known, None if it does not exist."""
        return self._versions.get(kind, ref)

    def service_names(self, identity: Ref) -> list[str]:
        """Return the names of the Services that select only an identity's pods, sorted."""
        return sorted(self.services.reaching(identity.namespace, self.pods_of(identity)))

    def services_of(self, identity: Ref) -> list[Service]:
        """Return the Services that select only an identity's pods."""
        return list(self.services.leading_to(identity.namespace, self.pods_of(identity)))

    def bundles_of(self, domain: str) -> list[Content]:
        """Return the bundle ConfigMaps that were written for a trust domain."""
        owner = "TrustDomain", domain
        return [
            bundle
            for bundle in self.bundles.values()
            if (bundle.labels.get(OWNER_KIND), bundle.labels.get(OWNER_NAME)) == owner
        ]

    def issuer_secrets_of(self, domain: str) -> list[Fact]:
        """Return the Secrets that were written for a trust domain's issuer."""
        owner = "TrustDomain", domain
        leaf = self.secrets.get(Ref(self.own_namespace, f"{domain}-issuer"))
        found: list[Fact] = [*self.tokens.secrets.values(), *([leaf] if leaf else [])]
        return [
            fact
            for fact in found
            if (fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)) == owner
        ]

    def pods_of(self, identity: Ref) -> LabelSelector:
        """Return the selector of an identity's pods."""
        return self.registry.identities[identity].spec.workload.pod_selector

    def write_fault(self, kind: str, ref: Ref) -> Fault | None:
        """Return why an owned object cannot be kept as declared, None if it can."""
        place = kind, ref
        if place in self.refused:
            return Fault("WriteRefused", self.refused[place])
        if place in self.contested:
            return Fault(FIGHTING, self.contested[place])
        return None

    def is_barred(self, kind: str, ref: Ref) -> bool:
        """Return whether an object cannot be kept as declared until a person acts."""
        place = kind, ref
        return place in self.contested or (place in self.refused and place not in self.passing)

    def rotating(self, namespace: str) -> Keys:
        """Return the trust domains that may wait for a change in a namespace.

        They replace a root or a key, or a leaf there is not from their active CA.
        """
        under_way = rotating(self.registry, self.authorities, self.tokens)
        return under_way | self.signers.cut_off(namespace, self.registry, self.authorities)

    def note_unreadable(self, key: Key, manifest: Manifest | None, fault: str) -> None:
        """Record whether a resource is valid, and why not."""
        self.unreadable.pop(key, None)
        if manifest is not None and fault:
            self.unreadable[key] = Unreadable(manifest, fault)
