"""The guard of one port: derives the caller from a request, or rejects the request.

Pure: it depends on no server and no framework, and reads no files and no clock. The checks always
run in the same order, from the connection upwards: the peer, the client for which it may speak,
whether this port accepts that caller, its access token, and its transaction token or the webhook
delivery. Results for the same certificate and tokens are cached until the identity's files change.
Times are checked for each request.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from troth.documents.identity.document import RequiredToken
from troth.edge.identity.cache import Kept
from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.delivery import delivered
from troth.edge.inbound.forwarded import parse_forwarded
from troth.edge.inbound.peer import Peer, read_peer
from troth.edge.inbound.presented import Presented
from troth.edge.inbound.refusal import Refusal, RefusedError, refusal
from troth.edge.trace_context import TraceContext, read_trace
from troth.pki.tokens.checks import (
    AccessToken,
    TokenError,
    TransactionToken,
    holder_problem,
    verify_access_token,
    verify_transaction_token,
)
from troth.pki.tokens.signing import LEEWAY

_LEEWAY = LEEWAY.total_seconds()
_EVER = float("inf")
_BEARER = b"bearer"
_SPIFFE = "spiffe://"
_OPTIONAL = "Optional"
_TENANT = "tenant"


class _Holder(NamedTuple):
    """Presenter of a request: the peer itself, or the client for which a gateway speaks."""

    spiffe_id: str
    thumbprint: str
    gateway: str | None


class _Grant(NamedTuple):
    """Caller with its scopes, and the validity of its token."""

    workload: str
    scopes: frozenset[str]
    begins: float
    ends: float


class Guard:
    """Checks the requests on one port, by its name in `identity.json`."""

    def __init__(self, port: str, *, most_kept: int = 4096) -> None:
        """Create a guard.

        `most_kept` is the maximum number of cached certificates, and of cached tokens of each kind.
        """
        self.port = port
        self._peers: Kept[tuple[int, tuple[str, ...]], Peer] = Kept(most_kept)
        self._grants: Kept[tuple[int, _Holder | None, bytes], _Grant] = Kept(most_kept)
        self._transactions: Kept[tuple[int, bytes], TransactionToken] = Kept(most_kept)

    def judge(
        self, snapshot: Snapshot, chain: tuple[str, ...], presented: Presented, now: float
    ) -> Caller | Refusal:
        """Return the caller, or the reason for which the request is rejected.

        `chain` is what the client presented in TLS (PEM, leaf first), empty if nothing. `now` is in
        seconds since the epoch.
        """
        trace = _trace(presented) if presented.parents else None
        peer = None
        try:
            peer = self._peer(snapshot, chain, now)
            holder = self._holder(snapshot, peer, presented)
            grant = self._grant(snapshot, holder, presented, now)
            gateways = snapshot.document.gateways.get(self.port)
            if gateways is not None:
                at_the_end = peer.spiffe_id if peer else None
                delivery = delivered(gateways, at_the_end, presented, snapshot.spiffe_id, now)
                return Caller(grant.workload, grant.scopes, trace=trace, delivery=delivery)
            transaction = self._transaction(snapshot, presented, now)
        except RefusedError as error:
            return refusal(error, peer.spiffe_id if peer else None, _trace_id(trace))
        gateway = holder.gateway if holder else None
        return Caller(grant.workload, grant.scopes, transaction, gateway, trace)

    def _peer(self, snapshot: Snapshot, chain: tuple[str, ...], now: float) -> Peer | None:
        if not chain:
            return None
        key = (snapshot.generation, chain)
        peer = self._peers.get(key)
        if peer is None:
            peer = read_peer(chain, snapshot)
            self._peers.put(key, peer)
        # TLS verified it when the connection began, possibly long ago.
        if not peer.not_before - _LEEWAY <= now < peer.not_after:
            raise RefusedError("caller-unknown")
        return peer

    def _holder(
        self, snapshot: Snapshot, peer: Peer | None, presented: Presented
    ) -> _Holder | None:
        if peer is None:
            required = snapshot.document.requires.token
            if required is None or required.proof_of_possession != _OPTIONAL:
                raise RefusedError("certificate-missing")
            return None
        if presented.forwarded and self.port not in snapshot.document.gateways:
            accepted = snapshot.document.callers.get(peer.spiffe_id)
            if accepted is not None and accepted.forwarded.get(self.port):
                return _client(peer, presented)
        return _Holder(peer.spiffe_id, peer.thumbprint, None)

    # The tokens are cached separately: one is valid for minutes, the other for one user's request.

    def _grant(
        self, snapshot: Snapshot, holder: _Holder | None, presented: Presented, now: float
    ) -> _Grant:
        key = (snapshot.generation, holder, _digest(presented.authorization))
        grant = self._grants.get(key)
        if grant is None or not _holds(grant.begins, grant.ends, now):
            grant = self._found(snapshot, holder, presented, now)
            self._grants.put(key, grant)
        return grant

    def _found(
        self, snapshot: Snapshot, holder: _Holder | None, presented: Presented, now: float
    ) -> _Grant:
        required = snapshot.document.requires.token
        if required is None:
            assert holder is not None
            return _Grant(
                holder.spiffe_id, self._granted(snapshot, holder.spiffe_id), -_EVER, _EVER
            )
        if holder is not None:
            # A caller that is not accepted gets this answer whichever token it has.
            self._granted(snapshot, holder.spiffe_id)
        token = _access_token(snapshot, required, holder, presented, now)
        scopes = self._granted(snapshot, token.subject) & token.scopes
        return _Grant(token.subject, scopes, token.issued, token.expires)

    def _transaction(
        self, snapshot: Snapshot, presented: Presented, now: float
    ) -> TransactionToken | None:
        if not presented.transaction:
            if snapshot.document.requires.context:
                raise RefusedError("transaction-missing")
            return None
        key = (snapshot.generation, _digest(presented.transaction))
        transaction = self._transactions.get(key)
        if transaction is None or not _holds(transaction.issued, transaction.expires, now):
            transaction = _transaction(snapshot, presented, now)
            self._transactions.put(key, transaction)
        return transaction

    def _granted(self, snapshot: Snapshot, workload: str) -> frozenset[str]:
        accepted = snapshot.document.callers.get(workload)
        if accepted is None or self.port not in accepted.granted:
            raise RefusedError("caller-not-accepted")
        return accepted.granted[self.port]


def _client(gateway: Peer, presented: Presented) -> _Holder:
    """Return the client for which a gateway speaks; raises `RefusedError` if it is ambiguous."""
    if len(presented.forwarded) != 1 or not presented.distinct:
        raise RefusedError("gateway-not-accepted")
    try:
        client = parse_forwarded(presented.forwarded[0])
    except ValueError:
        raise RefusedError("gateway-not-accepted") from None
    # Another proxy asserted it; this gateway has not verified the certificate itself.
    if any(by.startswith(_SPIFFE) and by != gateway.spiffe_id for by in client.by):
        raise RefusedError("gateway-not-accepted")
    return _Holder(client.spiffe_id, client.thumbprint, gateway.spiffe_id)


def _access_token(
    snapshot: Snapshot,
    required: RequiredToken,
    holder: _Holder | None,
    presented: Presented,
    now: float,
) -> AccessToken:
    try:
        token = verify_access_token(
            _bearer(presented.authorization),
            bundles=snapshot.bundles,
            issuers=snapshot.issuers,
            audience=required.audience,
            now=now,
        )
    except TokenError as error:
        raise RefusedError(error.reason, str(error)) from None
    problem = holder_problem(
        token,
        holder.spiffe_id if holder else None,
        holder.thumbprint if holder else None,
        must_be_bound=required.proof_of_possession != _OPTIONAL,
    )
    if problem is not None:
        raise RefusedError(problem)
    return token


def _bearer(values: Sequence[bytes]) -> str:
    if not values:
        raise RefusedError("token-missing")
    if len(values) > 1:
        raise RefusedError("token-malformed", "The request has more than one Authorization header.")
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != _BEARER:
        raise RefusedError("token-missing")
    return token.decode("latin-1")


def _transaction(snapshot: Snapshot, presented: Presented, now: float) -> TransactionToken:
    if len(presented.transaction) > 1:
        raise RefusedError(
            "transaction-malformed", "The request has more than one Txn-Token header."
        )
    issuer = snapshot.issuers.get(snapshot.trust_domain)
    if issuer is None:
        raise RefusedError("transaction-issuer", "This trust domain issues no transaction tokens.")
    try:
        transaction = verify_transaction_token(
            presented.transaction[0].decode("latin-1"),
            bundle=snapshot.bundles[snapshot.trust_domain],
            issuer=issuer,
            now=now,
        )
    except TokenError as error:
        raise RefusedError(error.reason, str(error)) from None
    # Every transaction token has a subject and a request ID, but not always a tenant.
    if "Tenant" in snapshot.document.requires.context and _TENANT not in transaction.context:
        raise RefusedError("context-missing")
    return transaction


def _holds(begins: float, ends: float, now: float) -> bool:
    return begins - _LEEWAY <= now < ends + _LEEWAY


def _digest(values: Sequence[bytes]) -> bytes:
    return sha256(b"\n".join(values)).digest() if values else b""


def _trace(presented: Presented) -> TraceContext | None:
    return read_trace(
        (value.decode("latin-1") for value in presented.parents),
        (value.decode("latin-1") for value in presented.states),
    )


def _trace_id(trace: TraceContext | None) -> str | None:
    return trace.traceparent.split("-")[1] if trace else None
