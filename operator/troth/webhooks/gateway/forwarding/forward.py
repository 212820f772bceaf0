"""A verified and claimed delivery, handed over to its target, and marked or given up by its answer.

What can be in doubt, and how it ends:
- The target was sent a delivery and no answer came (`may_have_acted`): it may be at work still. The
  claim is left to lapse, so that no second one comes beside the first; after that the sender's next
  try goes to the target again, which knows it by the delivery's id. What a target has taken by its
  own word it is never given again within the window.
- The store is away after the target has taken a delivery: see `marking`.
- The sender goes away while its delivery is at the target: that goes on, and is marked, so that the
  sender's next try hears that it is done. Here nobody knows whether anybody still waits.
- The gateway dies: the claim lapses, as in the first case.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from troth.documents.webhook_endpoint import Endpoint, Target
from troth.pki.tokens import is_text
from troth.pki.webhook_tokens import Signer, VerifiedDelivery
from troth.webhooks.gateway.answers import Answered
from troth.webhooks.gateway.connection.body import passed_on
from troth.webhooks.gateway.decisions import Decision
from troth.webhooks.gateway.forwarding.client import Answer, TargetUnavailableError
from troth.webhooks.gateway.replay.store import CLOCK_SKEW, Claimed, Store
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import passes_on
from troth.webhooks.schemes.scheme import Verified

LEASE_MARGIN = 10.0
"""Seconds that a claim outlasts the longest delivery: for the token, and to mark it in the end."""

_SUCCESS = range(200, 300)


class Delivers(Protocol):
    """Takes a delivery to its target; see `delivering.Deliver`."""

    @property
    def within(self) -> float:
        """How long it takes at most, in seconds."""

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Deliver; raises `TargetUnavailableError`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A delivery that was verified, with what its token says and who signs that."""

    endpoint: Endpoint
    target: Target
    delivery: Delivery
    verified: Verified
    transaction: str
    signer: Signer = field(repr=False)

    def token(self, now: float) -> str:
        """Return the token that goes with it to the target, and is good there alone."""
        identifier = self.verified.delivery_id
        said = VerifiedDelivery(
            endpoint=self.endpoint.endpoint,
            workflow=self.target.workflow,
            scheme=self.endpoint.signing.name,
            key_id=self.verified.key_id,
            body_sha256=sha256(self.delivery.body).digest(),
            delivery_id=identifier if is_text(identifier) else None,
        )
        return self.signer.token(self.target.spiffe_id, said, transaction=self.transaction, now=now)

    def headers(self) -> dict[str, str]:
        """Return what else goes with it."""
        names = passes_on(self.endpoint.signing.name)
        return {**passed_on(self.delivery, names), "X-Request-Id": self.transaction}


class Handover:
    """Hands over, and keeps the replay store in step with what became of it."""

    def __init__(self, store: Store, deliver: Delivers, clock: Callable[[], float]) -> None:
        self.lease = deliver.within + LEASE_MARGIN
        """How long a delivery must be claimed for before it is handed over, in seconds."""
        self.within = deliver.within
        self._store = store
        self._deliver = deliver
        self._clock = clock

    async def __call__(self, accepted: Accepted, claim: Claimed, decision: Decision) -> Answered:
        """Hand one over; return what its sender hears."""
        try:
            token, headers = accepted.token(self._clock()), accepted.headers()
        except BaseException:
            await self._store.release(claim)
            raise
        try:
            answer = await self._deliver(accepted.target, accepted.delivery.body, headers, token)
        except TargetUnavailableError as error:
            if not error.may_have_acted:
                await self._store.release(claim)
            return Answered(503, error.reason, retry=True)
        decision.target_status = answer.status
        if answer.status in _SUCCESS:
            await self._store.done(claim, accepted.endpoint.replay_window + CLOCK_SKEW)
            return Answered(200)
        # Also its 4xx: whether to send it again is the sender's to decide.
        await self._store.release(claim)
        return Answered(502, "target-refused")
