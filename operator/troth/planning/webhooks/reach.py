"""Checks of whether a gateway serves an endpoint, and whether it can reach the target."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from troth.documents.webhook_endpoint import Target
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError
from troth.pki.spiffe import spiffe_id
from troth.planning.webhooks.document import current_target, signing_of
from troth.planning.webhooks.owned_secrets import in_the_way
from troth.planning.webhooks.propagation import Propagation, current_listed, plan_propagation
from troth.planning.webhooks.view import WebhookView
from troth.resources.identity.spec import Protocol, ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.trust.declarations.unlisted import UNLISTED
from troth.trust.edges.federation import UNCONFINED
from troth.webhooks.schemes.registry import scheme_for
from troth.world.facts.objects import Fault

UNSERVED = frozenset(
    {
        "GatewayMissing",
        "GatewayNotServing",
        "NamespaceNotAllowed",
        "NamespaceMissing",
        "NoTrustDomain",
        "EnvironmentNotAllowed",
        "NotFederated",
        "TrustDomainTerminating",
        UNCONFINED,
    }
)
"""Reasons why the gateway has no configuration of an endpoint: it does not serve it."""
KEPT = frozenset(
    {
        "GatewayInvalid",
        "NamespaceOverlap",
        "TrustDomainInvalid",
        UNLISTED,
        "SigningInvalid",
        "SourceInvalid",
        "Conflict",
    }
)
"""Reasons why the gateway's configuration stays unchanged: the right one is unknown."""

Check = Callable[[WebhookView], Fault | None]


def first_fault(view: WebhookView, checks: tuple[Check, ...]) -> Fault | None:
    """Return the fault of the first check that fails, None if all pass."""
    return next((fault for check in checks if (fault := check(view)) is not None), None)


# GatewayConfigured


def gateway_is_there(view: WebhookView) -> Fault | None:
    """Check that the gateway's identity exists and is readable."""
    if view.gateway is not None:
        return None
    if view.gateway_unread:
        message = f"ServiceIdentity {view.gateway_ref} cannot be read; see its status"
        return Fault("GatewayInvalid", message)
    advice = "install the gateway, or name another one under gateway"
    message = view.watched.missing(ServiceIdentity, view.gateway_ref, advice)
    return Fault("GatewayMissing", message)


def gateway_serves(view: WebhookView) -> Fault | None:
    """Check that the gateway's identity serves webhooks."""
    assert view.gateway is not None
    if view.gateway.spec.serves_webhooks is not None:
        return None
    message = (
        f"{view.gateway_ref} does not serve webhooks; add servesWebhooks to it, or name another "
        "gateway"
    )
    return Fault("GatewayNotServing", message)


def namespace_is_allowed(view: WebhookView) -> Fault | None:
    """Check that the gateway serves the endpoint's namespace."""
    if view.served:
        return None
    message = (
        f"{view.gateway_ref} does not serve webhooks of namespace {view.endpoint.ref.namespace}; "
        "label the namespace so that servesWebhooks.allowedNamespaces selects it"
    )
    return Fault("NamespaceNotAllowed", message)


def domains_meet(view: WebhookView) -> Fault | None:
    """Check that the trust domains of both namespaces let the gateway call the target.

    Otherwise the gateway does not need the sender's keys, and the author of an endpoint could have
    keys of one environment copied to another.
    """
    apart = view.apart
    return Fault(apart.reason, apart.message) if apart is not None else None


def signing_makes_sense(view: WebhookView) -> Fault | None:
    """Check that the endpoint's signing configuration is valid for its scheme."""
    try:
        scheme_for(signing_of(view.inbound))
    except ValueError as error:
        return Fault("SigningInvalid", f"{error}; correct the scheme")
    return None


def source_makes_sense(view: WebhookView) -> Fault | None:
    """Check that the roots for the sender's certificate are readable."""
    source = view.inbound.source
    if source is None or source.client_certificate is None:
        return None
    try:
        read_certificates(source.client_certificate.ca_bundle.encode(), "caBundle", comments=True)
    except PKIError as error:
        return Fault("SourceInvalid", f"source.clientCertificate: {error}")
    return None


def place_is_free(view: WebhookView) -> Fault | None:
    """Check that no other object has the name of the compiled Secret."""
    return in_the_way(view.place, view.endpoint, view.moment.now)


def write_is_taken(view: WebhookView) -> Fault | None:
    """Check that the API server accepts the compiled Secret."""
    if view.closing:
        message = f"namespace {view.place.ref.namespace} is being deleted; name another gateway"
        return Fault("GatewayMissing", message)
    return view.place.write_fault


GATEWAY_CHECKS: tuple[Check, ...] = (
    gateway_is_there,
    gateway_serves,
    namespace_is_allowed,
    domains_meet,
    signing_makes_sense,
    source_makes_sense,
    place_is_free,
    write_is_taken,
)


# TargetReachable


def target_is_there(view: WebhookView) -> Fault | None:
    """Check that the target's identity exists and is readable."""
    if view.target is not None:
        return None
    if view.target_unread:
        message = f"ServiceIdentity {view.target_ref} cannot be read; see its status"
        return Fault("TargetInvalid", message)
    advice = "create it, or correct target"
    message = view.watched.missing(ServiceIdentity, view.target_ref, advice)
    return Fault("TargetMissing", message)


def edge_is_live(view: WebhookView) -> Fault | None:
    """Check that the edge from the gateway to the target is live."""
    edge, gateway = view.edge, view.gateway_ref
    if edge.state is EdgeState.LIVE:
        return None
    if edge.reason != "NotAccepted":
        return Fault(edge.reason, edge.message)
    # the message does not depend on other endpoints
    named = (
        f"{{from: {{name: {gateway.name}, namespace: {gateway.namespace}}}, ports: [{edge.port}]}}"
    )
    message = f"{edge.callee} does not accept {gateway} on {edge.port}; add {named} to its accepts"
    return Fault(edge.reason, message)


CONSENT_CHECKS: tuple[Check, ...] = (target_is_there, edge_is_live)


def service_leads_there(view: WebhookView) -> Fault | None:
    """Check that a Service leads to the target's pods, and only to them, on that port."""
    if next(addresses(view), None) is not None:
        return None
    port = view.port
    number = port.port if port is not None else ""
    message = (
        f"no Service in namespace {view.target_ref.namespace} has a TCP port with targetPort "
        f"{number} ({view.inbound.target.port}) and selects only pods of {view.target_ref}; "
        "create one"
    )
    return Fault("NoService", message)


def addresses(view: WebhookView) -> Iterator[tuple[str, int]]:
    """Yield the host and port of each Service that leads to the target's port, sorted."""
    port = view.port
    if port is None or port.protocol is not Protocol.TCP:
        return
    for service in sorted(view.services, key=lambda each: each.ref):
        for each in sorted(service.ports, key=lambda each: each.port):
            if each.target not in (port.port, port.name):
                continue
            # a headless Service leads directly to the pods' port, whatever port it declares
            number = port.port if service.headless else each.port
            yield f"{service.ref.name}.{service.ref.namespace}.svc", number


@dataclass(frozen=True, slots=True)
class TargetState:
    """Target to which the gateway forwards deliveries.

    `target` is None if there is a fault, except one that leaves the configuration unchanged.
    `listed` is the fingerprint of what the target has read. `why` and `wait` are those of
    `Propagation`.
    """

    target: Target | None
    fault: Fault | None
    listed: str = ""
    why: str = ""
    wait: timedelta | None = None


def plan_reach(view: WebhookView, *, at_gateway: bool) -> TargetState:
    """Return the target to which the gateway forwards deliveries, or the obstacle.

    The wait for the target counts only if the endpoint is `at_gateway`, because only the compiled
    Secret records across a restart that it is over.
    """
    fault = first_fault(view, CONSENT_CHECKS)
    if fault is not None:
        if view.edge.state is EdgeState.SUSPENDED:
            return TargetState(current_target(view), fault, current_listed(view))
        return TargetState(None, fault)
    propagation = plan_propagation(view) if at_gateway else Propagation()
    fault = service_leads_there(view)
    if fault is not None:
        return TargetState(None, fault, propagation.listed)
    if propagation.fault is not None:
        return TargetState(
            None, propagation.fault, propagation.listed, propagation.why, propagation.wait
        )
    assert view.target is not None
    assert view.domain is not None
    host, port = next(addresses(view))
    account = view.target.spec.workload.service_account_name
    target = Target(
        callee=str(view.target_ref),
        spiffe_id=spiffe_id(view.domain.spec.domain, view.target_ref.namespace, account),
        host=host,
        port=port,
        path=view.inbound.target.path,
        workflow=view.inbound.target.workflow,
    )
    return TargetState(target, None, propagation.listed)
