"""Forwarding of a verified and claimed delivery; the target's answer marks or releases the claim.

Uncertain cases:
- A delivery was sent and no answer came (`may_have_acted`): the target may still be working on it.
The claim lapses, so there is no second delivery in parallel. Then the sender's next attempt is
forwarded again, and the target recognizes it by the delivery's ID. A delivery that a target has
accepted is never forwarded again within the replay window.
- The store is unavailable after the target has accepted a delivery: see `commit`.
- The sender disconnects while its delivery is at the target: forwarding continues and the delivery
is marked, so the sender's next attempt is answered as a repetition.
- The gateway crashes: the claim lapses, as in the first case.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from troth.documents.webhook_endpoint import Endpoint, Target
from troth.pki.tokens.signing import is_text
from troth.pki.tokens.webhook import Signer, VerifiedDelivery
from troth.replay.store import Claimed, Store
from troth.serving.tracing import Tracer
from troth.webhooks.gateway.answers import Answered
from troth.webhooks.gateway.connection.body import forwarded_headers
from troth.webhooks.gateway.decisions import Decision
from troth.webhooks.gateway.forwarding.client import Answer, TargetUnavailableError
from troth.webhooks.gateway.replay.key import CLOCK_SKEW
from troth.webhooks.gateway.tracing import forwarding_span
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import event_headers
from troth.webhooks.schemes.scheme import Verified

LEASE_MARGIN = 10.0
"""Time in seconds by which a claim outlasts the longest delivery, for the token and the mark."""

_SUCCESS = range(200, 300)


class TargetSender(Protocol):
    """Sends a delivery to its target; see `client.TargetClient`."""

    @property
    def within(self) -> float:
        """Maximum time of a delivery in seconds."""

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Send a delivery; raises `TargetUnavailableError`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Verified delivery with the content of its token, and the token's signer."""

    endpoint: Endpoint
    target: Target
    delivery: Delivery
    verified: Verified
    transaction: str
    signer: Signer = field(repr=False)

    def token(self, now: float) -> str:
        """Return the token for the target, which is valid only there."""
        identifier = self.verified.delivery_id
        said = VerifiedDelivery(
            endpoint=self.endpoint.endpoint,
            workflow=self.target.workflow,
            scheme=self.endpoint.signing.name.value,
            key_id=self.verified.key_id,
            body_sha256=sha256(self.delivery.body).digest(),
            delivery_id=identifier if is_text(identifier) else None,
        )
        return self.signer.token(self.target.spiffe_id, said, transaction=self.transaction, now=now)

    def headers(self) -> dict[str, str]:
        """Return the other headers for the target."""
        names = event_headers(self.endpoint.signing.name)
        return {**forwarded_headers(self.delivery, names), "X-Request-Id": self.transaction}


class Forwarder:
    """Forwards deliveries, and updates the replay store with the result."""

    def __init__(
        self,
        store: Store,
        deliver: TargetSender,
        clock: Callable[[], float],
        tracer: Tracer | None = None,
    ) -> None:
        self.lease = deliver.within + LEASE_MARGIN
        """Lease in seconds with which a delivery must be claimed before it is forwarded."""
        self.within = deliver.within
        self._store = store
        self._deliver = deliver
        self._clock = clock
        self._tracer = tracer

    async def __call__(self, accepted: Accepted, claim: Claimed, decision: Decision) -> Answered:
        """Forward a delivery and return the answer for its sender."""
        try:
            token, headers = accepted.token(self._clock()), accepted.headers()
        except BaseException:
            await self._store.release(claim)
            raise
        try:
            with forwarding_span(self._tracer, accepted.target, headers, decision):
                answer = await self._deliver(
                    accepted.target, accepted.delivery.body, headers, token
                )
                decision.target_status = answer.status
        except TargetUnavailableError as error:
            if not error.may_have_acted:
                await self._store.release(claim)
            return Answered(503, error.reason, retry=True)
        if answer.status in _SUCCESS:
            await self._store.done(claim, accepted.endpoint.replay_window + CLOCK_SKEW)
            return Answered(200)
        # Also after a 4xx: the sender decides whether to retry.
        await self._store.release(claim)
        return Answered(502, "target-refused")
