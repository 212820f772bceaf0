"""Verdicts: what a probe has proven. If what it saw does not decide, it has proven nothing."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TypeGuard

from troth.audit.proving.probe import PROBER, Probe, ProbeName
from troth.audit.proving.round import Observed
from troth.documents.probes import STOPPED, UNMADE, Outcome, Seen
from troth.resources.references import Ref
from troth.resources.reported import Expectation, Layer, Proof, ProofResult

_STOPPED = {
    Outcome.TIMEOUT: "nothing answered the connection",
    Outcome.UNREACHABLE: "there was no way to the address",
    Outcome.REJECTED: "a packet filter rejected the connection",
    Outcome.RESET: "a reset rejected the connection",
}
_UNMADE = {
    Outcome.FAILED: "the files of the identity in the pod are missing or unusable",
    Outcome.NO_TOKEN: "the issuer gave no token",
    Outcome.TOKEN_REFUSED: "the issuer rejected the request for a token",
}
_BROKEN = {
    Outcome.NOT_TLS: "the server does not speak TLS",
    Outcome.UNTRUSTED: "the server's certificate is not valid for the trust domain",
    Outcome.WRONG_SERVER: "the server has another SPIFFE ID than the callee",
    Outcome.ALERT: "the server rejected the handshake with an alert",
    Outcome.CLOSED: "the server closed the connection without an answer",
    Outcome.SILENT: "the server did not answer in time",
    Outcome.GARBLED: "the server answered, but not with HTTP",
    Outcome.CONNECTED: "the connection opened",
}
_OF_TOKENS = "token-"
_OF_CALLERS = ("caller-", "certificate-", "gateway-")
"""Beginnings of the codes with which `troth.edge` rejects a caller. Its other codes are about
something that it asks only an accepted caller for, such as a transaction token."""
_OF_ACCEPTED = ("transaction-", "context-", "scope-", "webhook-")
_REJECTIONS = frozenset({400, 401, 403, 407, 421})
_UNDECIDED = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a probe, the layer that let it through or stopped it, and why, as a clause."""

    result: ProofResult
    layer: Layer | None
    evidence: str


def proof(probe: Probe, observed: Observed, now: datetime, own_namespace: str) -> Proof:
    """Return the proof of a probe for the status of its callee."""
    verdict = judge(probe, observed)
    peer = probe.caller or Ref(own_namespace, PROBER)
    return Proof(
        peer=str(peer),
        port=probe.target.port,
        probe=probe.name.value,
        expectation=probe.expectation,
        result=verdict.result,
        layer=verdict.layer,
        proven_at=now,
        evidence=verdict.evidence,
    )


def judge(probe: Probe, observed: Observed) -> Verdict:
    """Return what a probe has proven."""
    seen = observed.seen
    if seen is None:
        return _inconclusive(observed.reason)
    if seen.outcome in UNMADE:
        return _unmade(probe, seen)
    if probe.expectation is Expectation.PASSES:
        return _passing(seen, observed)
    if seen.outcome in STOPPED:
        return _stopped(probe, seen, observed)
    if seen.outcome is Outcome.CONNECTED:
        return _disproven(Layer.NETWORK, "the connection opened")
    return _rejected(probe, seen, observed)


# Probes that should pass


def _passing(seen: Seen, observed: Observed) -> Verdict:
    if seen.outcome in STOPPED:
        clause = _STOPPED[seen.outcome]
        if seen.outcome is Outcome.REJECTED:
            return _disproven(Layer.NETWORK, f"{clause} on its way to a Ready pod")
        if _is_connected(observed.before):
            return _disproven(Layer.NETWORK, f"{clause}, and another caller connected")
        return _inconclusive(f"{clause}; the callee may be down")
    match seen.outcome:
        case Outcome.ANSWERED:
            return _answered(seen)
        case Outcome.GARBLED:
            return _proven(Layer.TRANSPORT, _BROKEN[seen.outcome])
        case Outcome.NOT_TLS | Outcome.UNTRUSTED | Outcome.WRONG_SERVER | Outcome.ALERT:
            return _disproven(Layer.TRANSPORT, _BROKEN[seen.outcome])
    return _inconclusive(_BROKEN[seen.outcome])


def _answered(seen: Seen) -> Verdict:
    clause = _answer(seen)
    if seen.code.startswith(_OF_TOKENS):
        return _disproven(Layer.TOKEN, clause)
    if seen.code.startswith(_OF_CALLERS):
        return _disproven(Layer.APPLICATION, clause)
    if is_accepted(seen):
        return _proven(Layer.APPLICATION, clause)
    return _inconclusive(f"{clause}; name a path that a caller may GET")


# Probes that should fail


def _stopped(probe: Probe, seen: Seen, observed: Observed) -> Verdict:
    clause = _STOPPED[seen.outcome]
    if probe.name is not ProbeName.UNDECLARED_EDGE:
        return _inconclusive(f"{clause}, although the edge is declared")
    if not observed.answered:
        return _inconclusive(f"{clause}, and nothing else answered its pod either")
    if not _is_connected(observed.before):
        return _inconclusive(f"{clause}, but no declared caller connected, so nothing follows")
    if not _is_connected(observed.after):
        return _inconclusive(f"{clause}, but no declared caller connected afterwards")
    return _proven(Layer.NETWORK, f"{clause}; a declared caller connected before and after")


def _rejected(probe: Probe, seen: Seen, observed: Observed) -> Verdict:
    """Return the verdict on credentials that must be rejected.

    It compares with what a caller saw that presents its own: what rejects both is no rejection of
    the credentials.
    """
    control = observed.before
    if not _is_answered(control):
        clause = _answer(seen) if seen.outcome is Outcome.ANSWERED else _BROKEN[seen.outcome]
        return _inconclusive(f"{clause}, but no declared caller got an answer")
    match seen.outcome:
        case Outcome.ALERT | Outcome.CLOSED:
            return _broken(probe, seen, observed.after)
        case Outcome.GARBLED if control.outcome is Outcome.GARBLED:
            return _disproven(probe.layer, "the server answered as it answers a declared caller")
        case Outcome.ANSWERED:
            return _judged(probe, seen, control)
    return _inconclusive(_BROKEN[seen.outcome])


def _broken(probe: Probe, seen: Seen, after: Seen | None) -> Verdict:
    """Return the verdict on a connection that the server ended, as one that goes down does too."""
    clause = _BROKEN[seen.outcome]
    if probe.layer is not Layer.TRANSPORT:
        return _inconclusive(f"{clause}, which rejects no token")
    if not _is_answered(after):
        return _inconclusive(f"{clause}, but no declared caller got an answer afterwards")
    return _proven(Layer.TRANSPORT, clause)


def _judged(probe: Probe, seen: Seen, control: Seen) -> Verdict:
    clause = _answer(seen)
    if seen.code.startswith((_OF_TOKENS, *_OF_CALLERS)):
        if control.code == seen.code:
            return _inconclusive(f"{clause}, and so is a declared caller")
        layer = Layer.TOKEN if seen.code.startswith(_OF_TOKENS) else Layer.APPLICATION
        return _proven(layer, clause)
    if seen.code.startswith(_OF_ACCEPTED):
        return _disproven(probe.layer, f"{clause}, which only an accepted caller gets")
    if seen.status in _REJECTIONS:
        if is_accepted(control):
            return _proven(Layer.APPLICATION, clause)
        return _inconclusive(f"{clause}, and so is a declared caller; name another path")
    if HTTPStatus(200) <= seen.status < HTTPStatus(300):
        return _disproven(probe.layer, clause)
    if is_accepted(seen) and seen.status == control.status:
        return _disproven(probe.layer, f"{clause}, as a declared caller")
    return _inconclusive(clause)


def is_accepted(seen: Seen) -> bool:
    """Return whether an answer shows that the server accepts the caller.

    An error of the application does: the request has reached it.
    """
    if seen.outcome is not Outcome.ANSWERED:
        return False
    if seen.code.startswith((_OF_TOKENS, *_OF_CALLERS)):
        return False
    if seen.code.startswith(_OF_ACCEPTED):
        return True
    failed = seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not failed and seen.status not in _REJECTIONS | _UNDECIDED


# Parts


def _unmade(probe: Probe, seen: Seen) -> Verdict:
    clause = _UNMADE[seen.outcome] + (f": {seen.code}" if seen.code else "")
    if seen.outcome is Outcome.TOKEN_REFUSED and probe.expectation is Expectation.PASSES:
        return _disproven(Layer.TOKEN, clause)
    return _inconclusive(clause)


def _answer(seen: Seen) -> str:
    return f"answered {seen.status}" + (f" {seen.code}" if seen.code else "")


def _is_connected(seen: Seen | None) -> bool:
    return seen is not None and seen.outcome not in STOPPED | UNMADE


def _is_answered(seen: Seen | None) -> TypeGuard[Seen]:
    return seen is not None and seen.outcome in {Outcome.ANSWERED, Outcome.GARBLED}


def _proven(layer: Layer, evidence: str) -> Verdict:
    return Verdict(ProofResult.PROVEN, layer, evidence)


def _disproven(layer: Layer, evidence: str) -> Verdict:
    return Verdict(ProofResult.DISPROVEN, layer, evidence)


def _inconclusive(evidence: str) -> Verdict:
    return Verdict(ProofResult.INCONCLUSIVE, None, evidence)
