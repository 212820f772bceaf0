"""Receivers of webhooks whose only protection is the address of the sender."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.audit.exposure.running import running
from troth.audit.exposure.trust import address_trusts
from troth.audit.facts.ingress.allowlists import Allowlist
from troth.audit.facts.ingress.routes import ROUTING
from troth.audit.facts.ingress.senders import receives_webhooks, scheme_of
from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.ranges import outside
from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule, Scope
from troth.audit.rules.webhooks import endpoint_draft
from troth.audit.rules.webhooks.endpoint_draft import Receiver
from troth.audit.scene import Scene
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.reported import Severity

_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class _Trust:
    """Receiver with what the finding about it says."""

    subject: Object
    about: str
    evidence: tuple[Evidence, ...]
    receiver: Receiver


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    seen: set[tuple[Object, str]] = set()
    for each in _trusts(scene):
        if (each.subject, each.about) not in seen:  # two routes of one object lead to one workload
            seen.add((each.subject, each.about))
            place = each.receiver.workload
            where = str(place.object) if place else f"the pods of {each.subject.ref.name}"
            yield Finding(
                RULE.id,
                each.subject,
                f"webhooks reach {where} from trusted addresses without a signature that anybody "
                "verifies; declare a WebhookEndpoint with the scheme of the sender",
                each.evidence,
                about=each.about,
            )


def _trusts(scene: Scene) -> Iterator[_Trust]:
    yield from _of_routes(scene)
    registry = scene.world.registry
    for _, identity in sorted(registry.identities.items()):
        yield from _of_identity(scene, identity)


def _of_routes(scene: Scene) -> Iterator[_Trust]:
    for trust in address_trusts(scene):
        networks, target = outside(trust.allowlist.ranges), trust.target
        workload, route = target.workload, target.route
        names = (*route.names, workload.object.ref.name, target.port_name)
        if not networks or not receives_webhooks(names, networks):
            continue
        if _is_verified(scene, workload):
            continue
        leads = Evidence(route.source, route.field, f"leads to {workload.object}")
        subject = trust.allowlist.object
        about = str(workload.object)
        if subject != route.source:
            about = f"{route.source} {about}"
        receiver = Receiver(
            workload=workload,
            namespace=workload.object.ref.namespace,
            port=target.port,
            networks=tuple(networks),
            scheme=scheme_of(names, networks),
            name=route.service.name,
            host=next(iter(route.hosts), ""),
            path=route.path,
        )
        yield _Trust(subject, about, (_listing(trust.allowlist), leads), receiver)


def _of_identity(scene: Scene, identity: ServiceIdentity) -> Iterator[_Trust]:
    if identity.spec.serves_webhooks is not None or _has_endpoint(scene, identity.ref):
        return
    place = Object("ServiceIdentity", identity.ref)
    for number, accepted in enumerate(identity.spec.accepts):
        peer = accepted.unverified
        if peer is None or peer.cidrs is None:
            continue
        networks = outside(peer.cidrs)
        names = (identity.ref.name, peer.reason, *accepted.ports)
        if not networks or not receives_webhooks(names, networks):
            continue
        field = f"spec.accepts[{number}].unverified.cidrs"
        workload = next(
            (
                each
                for each in running(scene, identity.ref.namespace)
                if identity.ref in scene.identities_of(identity.ref.namespace, each.labels)
            ),
            None,
        )
        ports = {each.name: each.port for each in identity.spec.workload.ports}
        receiver = Receiver(
            workload=workload,
            namespace=identity.ref.namespace,
            port=ports.get(accepted.ports[0], 0),
            networks=tuple(networks),
            scheme=scheme_of(names, networks),
            name=identity.ref.name,
            identity=identity.ref,
            replaces=number,
        )
        evidence = _listing(Allowlist(place, field, peer.cidrs))
        yield _Trust(place, f"accepts {'/'.join(accepted.ports)}", (evidence,), receiver)


def _is_verified(scene: Scene, workload: Workload) -> bool:
    """Return whether a WebhookEndpoint is for a workload, or the workload is a webhook gateway."""
    registry = scene.world.registry
    for ref in scene.identities_of(workload.object.ref.namespace, workload.labels):
        if registry.identities[ref].spec.serves_webhooks or _has_endpoint(scene, ref):
            return True
    return False


def _has_endpoint(scene: Scene, identity: Ref) -> bool:
    webhooks = scene.world.registry.webhooks
    for route in webhooks.to(identity):
        inbound = webhooks.endpoints[route.endpoint].spec.inbound
        if inbound is not None and inbound.scheme is not None:
            return True
    return False


def _listing(allowlist: Allowlist) -> Evidence:
    shown = [each[:64] for each in allowlist.ranges[:_MOST_SHOWN]]
    more = " and others" if len(allowlist.ranges) > _MOST_SHOWN else ""
    shows = f"admits by address alone: {', '.join(shown)}{more}"
    return Evidence(allowlist.object, allowlist.field, shows)


def _fix(scene: Scene, finding: Finding) -> Fix:
    found = (
        each
        for each in _trusts(scene)
        if (each.subject, each.about) == (finding.subject, finding.about)
    )
    return endpoint_draft.fix(scene, finding, next(found).receiver)


_READS = frozenset({"ServiceIdentity", "WebhookEndpoint", "Pod", "Deployment", "StatefulSet"})

RULE = Rule(
    id="TR201",
    name="WebhookTrustsAddress",
    title="A receiver of webhooks admits callers by their addresses alone.",
    severity=Severity.HIGH,
    reads=_READS | ROUTING | {"Middleware", "AuthorizationPolicy", "SecurityPolicy"},
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,  # a Middleware or a route may be in another namespace than the workload
)
