"""What planning may ask the world.

Only the `view.py` of each kind asks it. The answers are facts and declarations, which never change
once they are made. `registry` has the declarations that the rules of `troth.trust` evaluate.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

from troth.documents.gateway_report import Verified
from troth.pki.certificates.authorities import Authority
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.broker import BrokerObservation, CredentialSecret, Ledger, StoredLedger
from troth.world.facts.deletion import Deletion
from troth.world.facts.objects import (
    AuthoritySecret,
    Budget,
    Content,
    Cutoff,
    Endpoint,
    Fact,
    Fault,
    IdentitySecret,
    KnownAuthority,
    Service,
    SigningSecret,
    TokensSecret,
    Unreadable,
    Workload,
)
from troth.world.facts.owned import F, OwnedObject
from troth.world.facts.webhook import CompiledSecret, KeysSecret
from troth.world.index.token_keys import CallerEntry
from troth.world.keys import Key
from troth.world.memo import Memo
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class Reader:
    """Queries about the world, each about the one object or relation that it names."""

    _world: WorldState

    @property
    def registry(self) -> Registry:
        """Declared trust domains, identities, edges and webhooks, for rules of `troth.trust`."""
        return self._world.registry

    @property
    def messaging(self) -> Messaging:
        """Declared brokers and policies, for rules of `troth.trust`."""
        return self._world.brokers.messaging

    @property
    def memo(self) -> Memo:
        """Cache of results that depend only on facts."""
        return self._world.memo

    @property
    def own_namespace(self) -> str:
        """Namespace in which Troth runs."""
        return self._world.own_namespace

    @property
    def api_endpoints(self) -> frozenset[Endpoint]:
        """Addresses and ports of the API server."""
        return self._world.api_endpoints

    # Every resource

    def unreadable(self, key: Key) -> Unreadable | None:
        """Return the resource with an invalid spec, None if it is valid or does not exist."""
        return self._world.unreadable.get(key)

    def deletion(self, key: Key) -> Deletion | None:
        """Return the deletion of a resource of which only the metadata is known."""
        return self._world.deletions.get(key)

    def rotations(self, key: Key) -> tuple[CredentialRotation, ...]:
        """Return the CredentialRotations that may rotate a resource's credentials."""
        return self._world.rotations.of(key)

    def uid(self, kind: str, ref: Ref) -> str | None:
        """Return the UID of an object, None if it does not exist."""
        known = self._world.version(kind, ref)
        return known.uid if known is not None else None

    # Namespaces

    def is_terminating(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted, so that nothing can be created there."""
        return namespace in self._world.terminating

    def terminating(self) -> frozenset[str]:
        """Return the namespaces that are being deleted."""
        return frozenset(self._world.terminating)

    # Objects that Troth writes

    def owned(self, kind: str, ref: Ref, fact: F | None) -> OwnedObject[F]:
        """Return the name of an object that Troth writes; `fact` is what has this name."""
        seen, fault = self._world.foreign.get((kind, ref)), self.write_fault(kind, ref)
        return OwnedObject(kind, ref, fact, seen, fault)

    def write_fault(self, kind: str, ref: Ref) -> Fault | None:
        """Return why Troth cannot write an object as declared, None if it can."""
        return self._world.write_fault(kind, ref)

    def is_barred(self, kind: str, ref: Ref) -> bool:
        """Return whether an object cannot be kept as declared until a person acts."""
        return self._world.is_barred(kind, ref)

    def identity_secret(self, ref: Ref) -> IdentitySecret | None:
        """Return the Secret of an identity."""
        return self._world.secrets.get(ref)

    def identity_secrets(self) -> Iterator[IdentitySecret]:
        """Yield the Secrets of all identities and issuers."""
        yield from self._world.secrets.values()

    def any_secret(self, ref: Ref) -> Fact | None:
        """Return Troth's Secret of a name that is not one of webhooks, whatever it holds."""
        world = self._world
        held = (world.secrets, world.brokers.secrets, world.signing.secrets)
        return next((found for each in held if (found := each.get(ref)) is not None), None)

    def network_policy(self, ref: Ref) -> Content | None:
        """Return a NetworkPolicy that Troth wrote."""
        return self._world.policies.get(ref)

    def config_map(self, ref: Ref) -> Content | None:
        """Return a ConfigMap that Troth wrote."""
        return self._world.bundles.get(ref)

    # Trust domains

    def authority(self, domain: TrustDomain) -> KnownAuthority | None:
        """Return a trust domain's CA from Troth's Secret, None if there is none."""
        return self._world.authorities.of(domain)

    def given_authority(self, domain: TrustDomain) -> KnownAuthority | None:
        """Return the CA that a person provided for a trust domain, None if there is none."""
        return self._world.authorities.given_to(domain)

    def authority_secret(self, domain: str) -> AuthoritySecret | None:
        """Return the Secret with the name of a trust domain's CA, with any owner."""
        return self._world.authorities.secrets.get(f"{domain}-authority")

    def authority_ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with the CA that signs a trust domain's leaves."""
        return self._world.authorities.ref(domain)

    def signed(self, authority: Authority | None, secret: IdentitySecret) -> bool:
        """Return whether a CA signed the leaf in a Secret; each is verified once."""
        return self._world.signatures.signed(authority, secret)

    def signed_by(self, known: KnownAuthority | None, secret: IdentitySecret | None) -> bool:
        """Return whether a CA of a trust domain signed the leaf in a Secret."""
        return self._world.signatures.signed_by(known, secret)

    def bundles_of(self, domain: str) -> tuple[Content, ...]:
        """Return the bundle ConfigMaps that were written for a trust domain."""
        return tuple(self._world.bundles_of(domain))

    def tokens_secret(self, domain: TrustDomain) -> TokensSecret | None:
        """Return the Secret with the name of an issuer's, with any owner."""
        return self._world.tokens.of(domain)

    def tokens_ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with a trust domain's token keys and issuer configuration."""
        return self._world.tokens.ref(domain)

    def issuer_ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with the certificate of a trust domain's issuer."""
        return self._world.tokens.leaf_ref(domain)

    def issuer_secrets_of(self, domain: str) -> tuple[Fact, ...]:
        """Return the Secrets that were written for a trust domain's issuer."""
        return tuple(self._world.issuer_secrets_of(domain))

    def view_written(self, ref: Ref) -> float | None:
        """Return when (uptime) Troth last wrote an issuer's view, None if it did not."""
        return self._world.tokens.view_written.get(ref.name)

    def caller_entries(self) -> MutableMapping[Ref, CallerEntry]:
        """Return the cache of entries in issuers' views, which planning fills."""
        return self._world.tokens.entries

    def cutoff(self, domain: TrustDomain, namespace: str) -> Cutoff | None:
        """Return the oldest identity of a namespace without room in the issuer configuration."""
        known = self._world.tokens.of(domain)
        return known.cutoffs.get(namespace) if known is not None else None

    # Credential rotations

    def rotation(self, ref: Ref) -> CredentialRotation | None:
        """Return a readable CredentialRotation."""
        return self._world.rotations.by_ref.get(ref)

    def may_rotate(self, rotation: CredentialRotation) -> bool:
        """Return whether a CredentialRotation is in a namespace that may rotate its target."""
        return self._world.rotations.may(rotation)

    # Workloads and Services

    def restarts_workloads(self) -> bool:
        """Return whether Troth may restart workloads."""
        return self._world.workloads.enabled

    def workload(self, kind: str, ref: Ref) -> Workload | None:
        """Return a workload that Troth may restart."""
        workloads = self._world.workloads
        return workloads.get(kind, ref) if workloads.enabled else None

    def budget_of(self, workload: Workload) -> Budget | None:
        """Return a PodDisruptionBudget that currently allows no disruption of a workload's pods."""
        return self._world.workloads.forbidding(workload)

    def service_names(self, identity: Ref) -> tuple[str, ...]:
        """Return the names of the Services that select only an identity's pods, sorted."""
        return tuple(self._world.service_names(identity))

    def services_of(self, identity: Ref) -> tuple[Service, ...]:
        """Return the Services that select only an identity's pods."""
        return tuple(self._world.services_of(identity))

    # Brokers and policies

    def declared_broker(self, ref: Ref) -> MessageBroker | None:
        """Return a readable broker, even if it is being deleted."""
        return self._world.brokers.declared(ref)

    def leaving_brokers(self) -> tuple[MessageBroker, ...]:
        """Return the brokers that are being deleted."""
        return tuple(self._world.brokers.leaving_brokers.values())

    def observation(self, broker: Ref) -> BrokerObservation:
        """Return the last observation of a broker."""
        return self._world.brokers.observation(broker)

    def kept_ledger(self, broker: Ref) -> StoredLedger | None:
        """Return the ConfigMap with the ledger of a broker, even if it is unreadable."""
        return self._world.brokers.ledgers.get(broker)

    def ledger(self, broker: Ref) -> Ledger | None:
        """Return what Troth created at a broker, None if that is unknown."""
        return self._world.brokers.ledger(broker)

    def credential(self, identity: Ref, broker: Ref) -> CredentialSecret | None:
        """Return the Secret with the name of an identity's credential at a broker."""
        return self._world.brokers.secret(identity, broker)

    def credentials_of(self, uid: str) -> tuple[CredentialSecret, ...]:
        """Return the credential Secrets that the identity with this UID owns, sorted."""
        return tuple(self._world.brokers.secrets_of(uid))

    def brokers_of_secret(self, secret: Ref, identity: Ref) -> frozenset[Ref]:
        """Return the brokers that an identity's credential Secret may be for, by its name."""
        return self._world.brokers.named_by(secret, identity)

    def leaving_policy(self, ref: Ref) -> TopicPolicy | None:
        """Return a readable policy that is being deleted."""
        return self._world.brokers.leaving_policies.get(ref)

    def leaving_at(self, broker: Ref) -> tuple[TopicPolicy, ...]:
        """Return the policies of a broker that are being deleted, sorted."""
        return tuple(self._world.brokers.leaving_at(broker))

    def schema_texts(self, policy: TopicPolicy) -> Mapping[str, str | None] | None:
        """Return the texts of the ConfigMap that a policy names, None for each too long one."""
        return self._world.schemas.of(policy)

    def grants_for_identity(self, identity: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant that an identity has or requests."""
        return tuple(self._world.grants.for_identity(identity))

    def grants_of(self, policy: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant of a policy, the same object until one changes."""
        return self._world.grants.of(policy)

    # Webhooks

    def signing(self, gateway: Ref) -> SigningSecret | None:
        """Return the Secret with the name of a gateway's signing keys, with any owner."""
        return self._world.signing.of(gateway)

    def given_keys(self, ref: Ref) -> KeysSecret | None:
        """Return a Secret with webhook keys that a person labelled for Troth."""
        return self._world.webhooks.given.get(ref)

    def generated_keys(self, ref: Ref) -> KeysSecret | None:
        """Return a Secret with webhook keys that Troth created."""
        return self._world.webhooks.generated.get(ref)

    def compiled(self, ref: Ref) -> CompiledSecret | None:
        """Return the Secret that configures an endpoint at a gateway."""
        return self._world.webhooks.compiled.get(ref)

    def compiled_from(self, endpoint: Ref) -> tuple[CompiledSecret, ...]:
        """Return the Secrets that configure an endpoint, for all gateways, sorted."""
        return self._world.webhooks.compiled_from(endpoint)

    def verified(self, endpoint: Ref, gateway: Ref) -> Verified:
        """Return the time at which each key of an endpoint last verified a delivery."""
        return self._world.webhooks.verified(endpoint, gateway)
