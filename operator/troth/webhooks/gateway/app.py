"""The gateway's ASGI application, without a framework: handles one request, from head to answer.

Cheap steps that reveal nothing come first: path, method, source, head, body, signature. Then
follow, for verified deliveries only, the rate limit and the replay check, and finally the target
(`forwarding`).

If the sender disconnects before the request is complete, the gateway verifies and claims nothing.
"""

import asyncio
import time
import traceback
from collections.abc import Callable

import structlog

from troth.pki.encodings.random_uuid import random_uuid
from troth.pki.tokens.webhook import Signer
from troth.replay.store import (
    Claimed,
    Repeated,
    Store,
    StoreUnavailableError,
)
from troth.serving.tracing import Tracer
from troth.webhooks.gateway.answers import Answered, GoneError, RefusalError
from troth.webhooks.gateway.certificates import Certificates, CertificateUnavailableError
from troth.webhooks.gateway.connection.body import (
    Receive,
    Scope,
    Send,
    as_delivery,
    read_body,
    read_head,
)
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.decisions import Decision, Decisions
from troth.webhooks.gateway.forwarding.forward import Accepted, Forwarder, TargetSender
from troth.webhooks.gateway.replay.commit import RetryingStore
from troth.webhooks.gateway.replay.key import replay_key
from troth.webhooks.gateway.routes import Routes, Served
from troth.webhooks.gateway.tracing import delivery_span, verification_span
from troth.webhooks.gateway.verification import Verifier
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.providers.sns.certificate_urls import CertificateNeededError
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Verified

_NO_PROXIES = Proxies()

log = structlog.get_logger()


class Gateway:
    """ASGI application that forwards verified, fresh and new deliveries."""

    def __init__(
        self,
        routes: Routes,
        store: Store,
        deliver: TargetSender,
        signer: Callable[[], Signer | None],
        decisions: Decisions,
        *,
        clock: Callable[[], float] = time.time,
        proxies: Proxies = _NO_PROXIES,
        certificates: Certificates | None = None,
        tracer: Tracer | None = None,
        workers: int = 1,
    ) -> None:
        """Set up the gateway.

        `signer` returns the signer of tokens, or None if there is no key; then the gateway accepts
        no delivery. `clock` is in seconds since the epoch. `certificates` fetches the certificates
        of SNS. `tracer` makes the spans of deliveries, None for none. `workers`
        processes divide the limits of this gateway.
        """
        self._routes = routes
        self._store = RetryingStore(store)
        self._forwarder = Forwarder(self._store, deliver, clock, tracer)
        self._signer = signer
        self._decisions = decisions
        self._clock = clock
        self._proxies = proxies
        self._certificates = certificates or Certificates()
        self._verifier = Verifier(workers)
        self._tracer = tracer

    async def close(self) -> None:
        """Close the store and end the threads. Call it after all requests have ended."""
        self._verifier.close()
        await self._store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError("the gateway serves HTTP only, without ASGI lifespan")
        decision = Decision()
        served = self._routes.find(scope["raw_path"])
        headers = tuple(scope["headers"]) if self._tracer is not None else ()
        with delivery_span(self._tracer, served, scope["method"], headers, decision):
            answered = await self._decided(served, scope, receive, decision)
            if answered is not None:  # inside: a span that fails must not change the answer
                await _send(send, answered)

    async def _decided(
        self, served: Served | None, scope: Scope, receive: Receive, decision: Decision
    ) -> Answered | None:
        """Return the answer, None if the sender is gone; record the decision."""
        began = time.perf_counter()
        answered: Answered | None = None
        try:
            answered = await self._answer(served, scope, receive, decision)
        except RefusalError as refusal:
            answered = refusal.answered
        except GoneError:
            decision.reason = "sender-gone"
        except asyncio.CancelledError:
            decision.reason = "cut-off"
            self._decisions.record(decision, time.perf_counter() - began)
            raise
        except Exception as error:  # noqa: BLE001 - fail closed on any error
            log.error(**_fault(error, decision))  # noqa: TRY400 - the text may quote the sender
            answered = Answered(500, "fault")
        if answered is not None:
            decision.reason, decision.status = answered.reason, answered.status
        self._decisions.record(decision, time.perf_counter() - began)
        return answered

    async def _answer(
        self, served: Served | None, scope: Scope, receive: Receive, decision: Decision
    ) -> Answered:
        if served is None:
            raise RefusalError(404, "unknown-path")
        endpoint = served.endpoint
        decision.endpoint, decision.scheme = endpoint.endpoint, endpoint.signing.name.value
        decision.workflow = endpoint.target.workflow if endpoint.target else ""
        delivery: Delivery | None = None
        try:
            self._admit(served, scope)
            headers = read_head(scope, served.longest_body)
            delivery = as_delivery(scope, headers, await read_body(receive, served.longest_body))
            with verification_span(self._tracer, served, decision):
                verified = await self._verified(served, delivery, decision)
        except (RefusalError, GoneError):
            received = delivery or as_delivery(scope, tuple(scope["headers"]), b"")
            decision.claimed_id = served.scheme.claimed_id(received) or ""
            raise
        if verified.answer is not None:
            return Answered(200, body=verified.answer)
        if not served.bucket.take():
            raise RefusalError(429, "too-many", retry=True)
        return await self._forward(served, delivery, verified, decision)

    def _admit(self, served: Served, scope: Scope) -> None:
        """Raise `RefusalError` for a request whose method or source is not accepted."""
        if scope["method"] != "POST":
            raise RefusalError(405, "not-post")
        why = served.admission.refusal(self._proxies, scope, self._clock())
        if why is not None:
            raise RefusalError(403, why)

    async def _verified(self, served: Served, delivery: Delivery, decision: Decision) -> Verified:
        """Return the verified facts of a delivery; raises `RefusalError`."""
        endpoint, now = served.endpoint, self._clock()
        decision.verification = "refused"
        try:
            try:
                verified = await self._verifier.verify(served, delivery, served.keys, now)
            except CertificateNeededError as needed:
                keys = (await self._fetched(served, needed.url),)
                verified = await self._verifier.verify(served, delivery, keys, now)
        except RefusedError as refused:
            raise RefusalError(401, refused.reason) from None
        decision.key_id = verified.key_id
        until = endpoint.accepts_unsigned_until
        if until is not None and now >= until:
            raise RefusalError(401, "unsigned-expired")
        decision.delivery_id = verified.delivery_id or ""
        decision.verification = "verified" if verified.signed else "unsigned"
        self._decisions.key_used(endpoint.endpoint, verified.key_id)
        return verified

    async def _fetched(self, served: Served, url: str) -> Key:
        """Return the key of one of SNS's certificates; raises `RefusalError`."""
        try:
            pem = await self._certificates.get(url, served.endpoint.endpoint)
            return served.scheme.key(url.rpartition("/")[2], pem)
        except CertificateUnavailableError as error:
            self._decisions.warn("certificate unavailable", str(error))
            raise RefusalError(503, "certificate-unavailable", retry=True) from None
        except KeyFormatError:
            raise RefusalError(401, Reason.SENDER_UNEXPECTED) from None

    async def _forward(
        self, served: Served, delivery: Delivery, verified: Verified, decision: Decision
    ) -> Answered:
        target, signer = served.endpoint.target, self._signer()
        if target is None:
            raise RefusalError(503, "suspended", retry=True)
        if signer is None:
            raise RefusalError(503, "no-signing-key", retry=True)
        try:
            claim = await self._claim(served, verified, decision)
        finally:
            if decision.replay != "new":
                served.bucket.give_back()
        if claim is None:
            return Answered(200, "done-already")
        decision.txn = random_uuid()
        accepted = Accepted(served.endpoint, target, delivery, verified, decision.txn, signer)
        return await self._forwarder(accepted, claim, decision)

    async def _claim(
        self, served: Served, verified: Verified, decision: Decision
    ) -> Claimed | None:
        """Return a claim, None if the delivery was accepted earlier; raises `RefusalError`."""
        key = replay_key(served.endpoint.uid, verified.replay)
        try:
            found = await self._store.claim(key, self._forwarder.lease)
        except StoreUnavailableError as error:
            decision.replay = "unavailable"
            self._decisions.warn("replay store unavailable", str(error))
            raise RefusalError(503, "store-unavailable", retry=True) from None
        if found is Repeated.IN_FLIGHT:
            decision.replay = "in-flight"
            raise RefusalError(503, "in-flight", retry=True)
        if found is Repeated.DONE:
            decision.replay = "repeated"
            return None
        assert isinstance(found, Claimed)
        decision.replay = "new"
        return found


def _fault(error: Exception, decision: Decision) -> dict[str, str]:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return {
        "event": "fault",
        "endpoint": decision.endpoint,
        "kind": type(error).__name__,
        "at": f"{last.filename}:{last.lineno}",
    }


async def _send(send: Send, answered: Answered) -> None:
    await send(
        {"type": "http.response.start", "status": answered.status, "headers": answered.headers}
    )
    await send({"type": "http.response.body", "body": answered.body})
