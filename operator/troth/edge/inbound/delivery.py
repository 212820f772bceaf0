"""A webhook delivery, with the token of the gateway that verified it.

On a port for webhooks, a request is accepted only with the gateway's token, and the token only from
that gateway. The token is for this workload only. It is no transaction, and is never propagated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

from troth.documents.identity.document import Webhooks
from troth.edge.inbound.presented import Presented
from troth.edge.inbound.refusal import RefusedError
from troth.pki.tokens.webhook import TokenError, verify_webhook_token


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivery that a gateway has verified.

    `endpoint` is `<namespace>/<name>` of its WebhookEndpoint, `workflow` is the endpoint's
    workflow, `scheme` is the signature scheme, and `key_id` is the sender's key. `delivery_id` is
    the sender's own ID for logs; it may be unsigned, and is None if there is none. `body_sha256` is
    the digest of the verified body. `txn` is the UUID that the gateway gave the delivery.
    """

    endpoint: str
    workflow: str
    scheme: str
    key_id: str
    delivery_id: str | None
    body_sha256: bytes = field(repr=False)
    txn: str

    def covers(self, body: bytes) -> bool:
        """Return whether a body is identical to the body that the gateway verified."""
        return compare_digest(sha256(body).digest(), self.body_sha256)


def delivered(
    gateways: Mapping[str, Webhooks],
    peer: str | None,
    presented: Presented,
    target: str,
    now: float,
) -> Delivery:
    """Return the delivery of a request on a port for webhooks.

    `gateways` are the gateways of the port, `peer` is the SPIFFE ID of the peer, `target` that of
    this workload. Raises `RefusedError`.
    """
    if peer is None:
        raise RefusedError("certificate-missing")
    gateway = gateways.get(peer)
    if gateway is None:
        raise RefusedError("webhook-gateway")
    if not presented.transaction:
        raise RefusedError("webhook-token-missing")
    if len(presented.transaction) > 1:
        raise RefusedError(
            "webhook-token-malformed", "The request has more than one Txn-Token header."
        )
    try:
        token = verify_webhook_token(
            presented.transaction[0].decode("latin-1"),
            keys=gateway.keys.public,
            gateway=gateway.issuer,
            target=target,
            now=now,
        )
    except TokenError as error:
        raise RefusedError(error.reason, str(error)) from None
    said = token.delivery
    if said.endpoint not in gateway.names:
        raise RefusedError("webhook-token-endpoint")
    return Delivery(
        endpoint=said.endpoint,
        workflow=said.workflow,
        scheme=said.scheme,
        key_id=said.key_id,
        delivery_id=said.delivery_id,
        body_sha256=said.body_sha256,
        txn=token.transaction,
    )
