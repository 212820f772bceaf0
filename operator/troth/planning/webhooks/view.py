"""All inputs of the plan of one WebhookEndpoint, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from troth.planning.moment import Moment
from troth.planning.owned_objects import secret_ref
from troth.resources.identity.spec import Port, ServiceIdentity
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.resources.webhooks.inbound import Inbound
from troth.resources.webhooks.schemes import CHOSEN_BY_RECEIVER, SchemeName
from troth.trust.declarations.watched import Watched
from troth.trust.edges.candidate import EdgeCandidate, EdgeObstacle, find_port
from troth.trust.edges.deliveries import serves
from troth.trust.edges.domains import kept_apart
from troth.trust.edges.evaluation import Edge, evaluate
from troth.trust.edges.spiffe_ids import spiffe_ids_of
from troth.world.facts.objects import Fact, IdentitySecret, Service, TokenKey, Unreadable
from troth.world.facts.owned import OwnedObject
from troth.world.facts.webhook import CompiledSecret, KeysSecret
from troth.world.keys import Key, webhook_key
from troth.world.observation.webhook_secrets import compiled_ref, generated_ref
from troth.world.reader import Reader


@dataclass(frozen=True, slots=True)
class WebhookView:
    """Endpoint with its gateway, its target and its keys.

    `apart` is why the gateway may not call the endpoint's namespace, whatever both sides declare.
    `keys` are those in the Secret of a person, or in the one that Troth created. `compiled` is the
    gateway's configuration, and `place` is where Troth writes it.
    """

    endpoint: WebhookEndpoint
    inbound: Inbound
    gateway: ServiceIdentity | None
    gateway_unread: bool
    served: bool
    apart: EdgeObstacle | None
    target: ServiceIdentity | None
    target_unread: bool
    domain: TrustDomain | None
    edge: Edge
    target_secret: IdentitySecret | None
    """Secret of the target's identity."""
    gateway_id: str
    """SPIFFE ID of the gateway in the target's files, empty while it has none."""
    signs: TokenKey | None
    """Key with which the gateway signs."""
    services: tuple[Service, ...]
    keys: KeysSecret | None
    generated: OwnedObject[Fact]
    compiled: CompiledSecret | None
    place: OwnedObject[Fact]
    closing: bool
    rotations: tuple[CredentialRotation, ...]
    verified: Mapping[str, datetime]
    watched: Watched
    moment: Moment

    @property
    def scheme(self) -> SchemeName:
        """Scheme with which the sender signs."""
        assert self.inbound.scheme is not None
        return self.inbound.scheme

    @property
    def generates(self) -> bool:
        """Whether Troth creates the keys."""
        return self.inbound.secret_ref is None and self.scheme in CHOSEN_BY_RECEIVER

    @property
    def needs_no_key(self) -> bool:
        """Whether AWS's published certificates suffice, because the endpoint pins none."""
        return self.scheme is SchemeName.SNS and self.inbound.secret_ref is None

    @property
    def gateway_ref(self) -> Ref:
        """Name of the gateway's identity, even if it does not exist."""
        assert self.endpoint.gateway is not None
        return self.endpoint.gateway

    @property
    def target_ref(self) -> Ref:
        """Name of the target's identity, even if it does not exist."""
        assert self.endpoint.target is not None
        return self.endpoint.target

    @property
    def port(self) -> Port | None:
        """Port of the target, None if it declares none of that name."""
        return find_port(self.target, self.inbound.target.port) if self.target else None


@dataclass(frozen=True, slots=True)
class EndpointView:
    """What is known of the WebhookEndpoint of a key.

    `ends` says that its namespace is being deleted. `compiled` are its Secrets for all gateways.
    `inbound` are the inputs of its plan, None if it is outbound, is deleted, or cannot be read.
    """

    key: Key
    unreadable: Unreadable | None
    endpoint: WebhookEndpoint | None
    ends: bool
    compiled: tuple[CompiledSecret, ...]
    inbound: WebhookView | None
    moment: Moment


def gather(key: Key, reader: Reader, moment: Moment) -> EndpointView:
    """Return what is known of the endpoint of a key."""
    ref, webhooks = key.ref, reader.registry.webhooks
    endpoint = webhooks.endpoints.get(ref) or webhooks.terminating.get(ref)
    unreadable, ends = reader.unreadable(key), reader.is_terminating(ref.namespace)
    inbound = None
    if endpoint is not None and unreadable is None and not ends and not is_terminating(endpoint):
        inbound = gather_inbound(endpoint, reader, moment)
    compiled = reader.compiled_from(ref)
    return EndpointView(key, unreadable, endpoint, ends, compiled, inbound, moment)


def gather_inbound(endpoint: WebhookEndpoint, reader: Reader, moment: Moment) -> WebhookView | None:
    """Return all inputs of the plan of an inbound endpoint, None for an outbound one."""
    inbound, gateway, target = endpoint.spec.inbound, endpoint.gateway, endpoint.target
    if inbound is None:
        return None
    assert gateway is not None
    assert target is not None
    registry = reader.registry
    made, place = generated_ref(endpoint.ref), compiled_ref(endpoint.ref, gateway)
    given, generated = endpoint.given_secret, reader.generated_keys(made)
    compiled, identity = reader.compiled(place), registry.identities.get(target)
    signing = reader.signing(gateway)
    candidate = EdgeCandidate(registry, gateway, target, inbound.target.port, moment.now)
    return WebhookView(
        endpoint=endpoint,
        inbound=inbound,
        gateway=registry.identities.get(gateway),
        gateway_unread=registry.is_unreadable(gateway),
        served=serves(registry, gateway, endpoint.ref.namespace),
        apart=kept_apart(candidate),
        target=identity,
        target_unread=registry.is_unreadable(target),
        domain=registry.governance(endpoint.ref.namespace).domain,
        edge=evaluate(candidate),
        target_secret=reader.identity_secret(secret_ref(target)),
        gateway_id=min(spiffe_ids_of(gateway, registry), default=""),
        signs=signing.active if signing is not None else None,
        services=reader.services_of(target) if identity is not None else (),
        keys=reader.given_keys(given) if given is not None else generated,
        generated=reader.owned("Secret", made, generated or reader.any_secret(made)),
        compiled=compiled,
        place=reader.owned("Secret", place, compiled or reader.any_secret(place)),
        closing=reader.is_terminating(place.namespace),
        rotations=reader.rotations(webhook_key(endpoint.ref)),
        verified=reader.verified(endpoint.ref, gateway),
        watched=registry.watched,
        moment=moment,
    )
