"""Configuration of an endpoint for its gateway, `endpoint.json`."""

from troth.documents.webhook_endpoint import (
    ClientCertificate,
    Described,
    Endpoint,
    EndpointError,
    Limits,
    Signing,
    Source,
    Target,
    parse_endpoint,
)
from troth.planning.webhooks.view import WebhookView
from troth.resources.references import Ref
from troth.resources.webhooks.inbound import Inbound


def document_of(view: WebhookView, target: Target | None, suspended: str) -> str:
    """Return the text of the configuration.

    Without a target, `suspended` says why the gateway accepts no delivery.
    """
    inbound, unsigned = view.inbound, view.inbound.accept_unsigned
    endpoint = Endpoint(
        version="v1alpha1",
        endpoint=str(view.endpoint.ref),
        uid=view.endpoint.metadata.uid,
        path=view.endpoint.path,
        signing=signing_of(inbound),
        tolerance=int(inbound.tolerated.total_seconds()),
        replay_window=int(inbound.replay_window.total_seconds()),
        source=_source_of(inbound),
        target=target,
        suspended="" if target is not None else suspended,
        limits=Limits(
            body=inbound.limits.bytes, requests_per_second=inbound.limits.requests_per_second
        ),
        accepts_unsigned_until=int(unsigned.expires_at.timestamp()) if unsigned else None,
    )
    return endpoint.model_dump_json(by_alias=True, indent=2) + "\n"


def signing_of(inbound: Inbound) -> Signing:
    """Return how the sender signs, in the form that the schemes read."""
    assert inbound.scheme is not None
    hmac = inbound.hmac
    return Signing(
        name=inbound.scheme,
        url=inbound.public_url,
        described=None
        if hmac is None
        else Described(
            header=hmac.header,
            prefix=hmac.prefix,
            signed=hmac.signed,
            digest=hmac.digest.value,
            encoding=hmac.encoding.value,
            timestamp_header=hmac.timestamp_header,
            id_header=hmac.id_header,
        ),
        topics=inbound.sns.topic_arns if inbound.sns else (),
        components=inbound.http_signatures.components if inbound.http_signatures else (),
    )


def _source_of(inbound: Inbound) -> Source:
    source = inbound.source
    if source is None:
        return Source()
    shown = source.client_certificate
    return Source(
        cidrs=source.cidrs,
        client_certificate=None
        if shown is None
        else ClientCertificate(sans=shown.sans, authorities=shown.ca_bundle),
    )


def current_target(view: WebhookView) -> Target | None:
    """Return the target in the gateway's current configuration, if it is still the endpoint's.

    None if the configuration is not as Troth wrote it, because a foreign change is not kept.
    """
    if view.compiled is None or not view.compiled.intact:
        return None
    try:
        target = parse_endpoint(view.compiled.document).target
    except EndpointError:
        return None
    return target if target is not None and _is(target, view.target_ref) else None


def _is(target: Target, ref: Ref) -> bool:
    return target.callee == str(ref)
