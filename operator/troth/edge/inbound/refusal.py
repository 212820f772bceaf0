"""Reasons for rejecting a request: one code for each check, and what the answer discloses.

Pure. The answer contains what an honest caller needs to fix its request. It does not disclose which
keys of a trust domain are known, so two codes of the log are one code in the answer.
"""

from dataclasses import dataclass
from http import HTTPStatus

_SENTENCES = {
    "certificate-missing": "No client certificate was presented; call with your X.509-SVID.",
    "caller-unknown": "The client certificate is not a valid X.509-SVID of a known trust domain.",
    "caller-not-accepted": "This caller is not accepted on this port; declare the edge on both "
    "sides.",
    "gateway-not-accepted": "The gateway's X-Forwarded-Client-Cert is not reliable; configure the "
    "gateway to overwrite it with one element that has Hash and URI.",
    "token-missing": "No access token was presented; send one as a Bearer token.",
    "token-signature": "The access token is not signed with a known key.",
    "token-holder": "The access token belongs to another caller: it is bound to another "
    "certificate, or its subject is not the caller.",
    "token-unbound": "The access token is not bound to a certificate; request it with your "
    "X.509-SVID.",
    "transaction-missing": "No transaction token was presented; pass on the one that you "
    "received, or start a transaction.",
    "transaction-signature": "The transaction token is not signed with a known key.",
    "context-missing": "The transaction token lacks a required part of the context.",
    "webhook-gateway": "This port accepts only webhook deliveries from their gateway.",
    "webhook-token-missing": "This port accepts only webhook deliveries; their gateway sends a "
    "webhook token with each request.",
    "webhook-token-signature": "The webhook token is not signed with a known key of the gateway.",
    "webhook-token-endpoint": "The webhook token is for an endpoint that does not lead here.",
    "scope-missing": "The caller does not have the required scopes.",
}
_ANSWERED = {
    "token-key": "token-signature",
    "transaction-key": "transaction-signature",
    "webhook-token-key": "webhook-token-signature",
}
_OF_TOKENS = "token-"


class RefusedError(Exception):
    """A failed check, by its code."""

    def __init__(self, code: str, sentence: str = "") -> None:
        super().__init__(sentence or _SENTENCES[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rejected request.

    `code` names the check. `sentence` says what the caller must fix, and quotes nothing of the
    request. `peer` is the verified SPIFFE ID of the peer, and `request` is the unverified ID of its
    trace; each is None if there is none. `scopes` are the required scopes.
    """

    code: str
    sentence: str
    peer: str | None = None
    request: str | None = None
    scopes: tuple[str, ...] = ()

    @property
    def answered(self) -> str:
        """The code in the answer; the log has the more precise one."""
        return _ANSWERED.get(self.code, self.code)

    @property
    def status(self) -> HTTPStatus:
        """401 if a token, or another token, would help; otherwise 403."""
        return HTTPStatus.UNAUTHORIZED if self.code.startswith(_OF_TOKENS) else HTTPStatus.FORBIDDEN

    @property
    def challenge(self) -> str | None:
        """The value of WWW-Authenticate (RFC 6750, section 3), None if there is no challenge."""
        if self.code == "token-missing":
            return "Bearer"
        if self.status is HTTPStatus.UNAUTHORIZED:
            return 'Bearer error="invalid_token"'
        if self.code == "scope-missing":
            return f'Bearer error="insufficient_scope", scope="{" ".join(self.scopes)}"'
        return None


def refusal(
    error: RefusedError, peer: str | None, request: str | None, scopes: tuple[str, ...] = ()
) -> Refusal:
    """Return the rejection of a failed check."""
    answered = _ANSWERED.get(error.code, error.code)
    sentence = _SENTENCES[answered] if answered in _ANSWERED.values() else str(error)
    return Refusal(error.code, sentence, peer, request, scopes)
