"""Why a request was not sent, or a redirect not followed; besides the errors of the library.

None of them contains a token, so any of them may be shown and logged.
"""

from datetime import datetime

from troth.edge.outbound.exchange import ExchangeFailedError


class TokenUnavailableError(Exception):
    """There is no token, so the request was not sent.

    `issuer` is its URL, `audience` the audience of the token, `since` when the issuer began to fail
    (aware UTC), `code` the reason (`exchange.ExchangeFailedError.code`), and `retry_after` the
    seconds until it will be asked again.
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

    Following it would perform an action that the first callee wants, with this workload's rights.
    """

    def __init__(self, callee: str, target: str) -> None:
        super().__init__(f"{callee} redirects to {target}; call that service at its own address")


class NoIssuerError(LookupError):
    """`identity.json` names no issuer of this workload's trust domain: it issues no tokens."""

    def __init__(self, trust_domain: str) -> None:
        super().__init__(f"identity.json names no token issuer for {trust_domain}")
