"""Why a request is refused: one code for each check, and what may be said of it.

Pure. What is answered is what an honest caller needs in order to mend something. Which of a trust
domain's keys are known is not among it, so two codes of the log are one in the answer.
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
    """A check that failed, by its code."""

    def __init__(self, code: str, sentence: str = "") -> None:
        super().__init__(sentence or _SENTENCES[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is refused.

    `code` names the check, `sentence` says for the caller what to mend, and quotes nothing of what
    was sent. `peer` is the verified SPIFFE ID at the other end, `request` the ID of its trace,
    which nobody vouches for; each None where there is none. `scopes` are those that were needed.
    """

    code: str
    sentence: str
    peer: str | None = None
    request: str | None = None
    scopes: tuple[str, ...] = ()

    @property
    def answered(self) -> str:
        """The code that is answered; the log has the more exact one."""
        return _ANSWERED.get(self.code, self.code)

    @property
    def status(self) -> HTTPStatus:
        """401 where a token, or another one, would help; else 403."""
        return HTTPStatus.UNAUTHORIZED if self.code.startswith(_OF_TOKENS) else HTTPStatus.FORBIDDEN

    @property
    def challenge(self) -> str | None:
        """The value of WWW-Authenticate (RFC 6750 section 3), None where nothing is asked for."""
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
    """The refusal that a failed check becomes."""
    answered = _ANSWERED.get(error.code, error.code)
    sentence = _SENTENCES[answered] if answered in _ANSWERED.values() else str(error)
    return Refusal(error.code, sentence, peer, request, scopes)
