"""Errors because of which a request was not sent, or a redirect not followed.

They are raised besides the library's own errors. None of them contains a token, so any of them may
be shown and logged.
"""

from datetime import datetime

from troth.edge.outbound.exchange import ExchangeFailedError


class TokenUnavailableError(Exception):
    """There is no token, so the request was not sent.

    `issuer` is the issuer's URL, and `audience` is the audience of the token. `since` is the time
    of the issuer's first failure (aware UTC). `code` is the reason
    (`exchange.ExchangeFailedError.code`). `retry_after` is the number of seconds until the next
    request to the issuer.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        since: datetime,
        failure: ExchangeFailedError,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(
            f"No token for {audience} from the issuer {issuer} since "
            f"{since.isoformat(timespec='seconds')}: {failure}"
        )
        self.issuer = issuer
        self.audience = audience
        self.since = since
        self.code = failure.code
        self.retry_after = retry_after


class TokenRefusedError(TokenUnavailableError):
    """There is no token because the issuer rejects the request, for example without a live edge."""


class UnknownCalleeError(LookupError):
    """`identity.json` lists no call of this callee: the edge is not declared, or not live."""

    def __init__(self, callee: str) -> None:
        super().__init__(f"identity.json lists no call to {callee}; declare the edge on both sides")
        self.callee = callee


class RedirectRefusedError(Exception):
    """A callee answered with a redirect to another callee.

    Following it would let the first callee act with this workload's rights.
    """

    def __init__(self, callee: str, target: str) -> None:
        super().__init__(f"{callee} redirects to {target}; call that service at its own address")


class NoIssuerError(LookupError):
    """`identity.json` names no issuer of this workload's trust domain: it issues no tokens."""

    def __init__(self, trust_domain: str) -> None:
        super().__init__(f"identity.json names no token issuer for {trust_domain}")
