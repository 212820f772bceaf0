"""All inputs of the plan of one inbound WebhookEndpoint, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from troth.planning.identity.view import spiffe_ids_of
from troth.planning.moment import Moment
from troth.planning.owned_objects import secret_ref
from troth.resources.identity.spec import Port, ServiceIdentity
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
from troth.world.facts.objects import Fact, Fault, IdentitySecret, Service, TokenKey
from troth.world.facts.webhook import CompiledSecret, KeysSecret
from troth.world.keys import webhook_key
from troth.world.observation.webhook_secrets import compiled_ref, generated_ref
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Wanted:
    """Name of a Secret that Troth writes, with the object that has this name.

    `seen` is when a foreign object was last found there. `write_fault` is why Troth cannot keep the
    object as declared, None if it can.
    """

    ref: Ref
    fact: Fact | None
    seen: datetime | None
    write_fault: Fault | None


@dataclass(frozen=True, slots=True)
class WebhookView:
    """Endpoint with its gateway, its target and its keys.

    `apart` is why the gateway may not call the endpoint's namespace, whatever both sides declare.
    `keys` are those in the Secret of a person, or in the one that Troth created. `elsewhere` are
    the endpoint's compiled Secrets for other gateways.
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
    generated: Wanted
    compiled: CompiledSecret | None
    place: Wanted
    elsewhere: tuple[CompiledSecret, ...]
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


def gather(
    endpoint: WebhookEndpoint, inbound: Inbound, world: World, moment: Moment
) -> WebhookView:
    """Return all inputs of the plan, from the world."""
    registry, state = world.registry, world.webhooks
    gateway, target = endpoint.gateway, endpoint.target
    assert gateway is not None
    assert target is not None
    made, place = generated_ref(endpoint.ref), compiled_ref(endpoint.ref, gateway)
    given = endpoint.given_secret
    keys = state.given.get(given) if given is not None else state.generated.get(made)
    identity, signing = registry.identities.get(target), world.signing.of(gateway)
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
        target_secret=world.secrets.get(secret_ref(target)),
        gateway_id=min(spiffe_ids_of(gateway, world), default=""),
        signs=signing.active if signing is not None else None,
        services=tuple(world.services_of(target)) if identity is not None else (),
        keys=keys,
        generated=_wanted(made, state.generated.get(made), world),
        compiled=state.compiled.get(place),
        place=_wanted(place, state.compiled.get(place), world),
        elsewhere=tuple(each for each in state.compiled_from(endpoint.ref) if each.ref != place),
        closing=place.namespace in world.terminating,
        rotations=world.rotations.of(webhook_key(endpoint.ref)),
        verified=state.verified(endpoint.ref, gateway),
        watched=registry.watched,
        moment=moment,
    )


def _wanted(ref: Ref, fact: Fact | None, world: World) -> Wanted:
    others = (
        world.secrets.get(ref),
        world.brokers.secrets.get(ref),
        world.signing.secrets.get(ref),
    )
    existing = fact or next((each for each in others if each is not None), None)
    place = "Secret", ref
    return Wanted(ref, existing, world.foreign.get(place), world.write_fault(*place))
