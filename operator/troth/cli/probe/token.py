"""Access tokens for probes, from the issuer, with the certificate of an identity."""

from datetime import UTC, datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from troth.edge.identity.files import Identity, IdentityError
from troth.edge.outbound.calls import Calls
from troth.edge.outbound.exchange import (
    MAX_ANSWER,
    Answer,
    ExchangeFailedError,
    access_by_certificate,
    read_answer,
)
from troth.edge.outbound.failures import NoIssuerError
from troth.edge.outbound.servers import client_context


class NoTokenError(Exception):
    """There is no token. `final` means that the issuer rejects the request."""

    def __init__(self, code: str, *, final: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.final = final


def token_of(identity: Path, bundle: Path, audience: str, timeout: float) -> str:
    """Return a token for an audience that is bound to the certificate of an identity.

    Raises `NoTokenError`, and `OSError` or `ValueError` if the files are unusable.
    """
    files = Identity(identity, bundle)
    try:
        snapshot = files.current
    except IdentityError as error:
        raise ValueError(str(error)) from None
    calls: Calls[object] = Calls(files, {}, lambda _: None)
    try:
        issuer = calls.issuer(snapshot)
        context = client_context(
            snapshot.anchors, issuer.expected, (snapshot.tls_crt, snapshot.tls_key)
        )
        ask = access_by_certificate(issuer.url, audience)
        url = urlsplit(ask.url)
        connection = HTTPSConnection(url.netloc, timeout=timeout, context=context)
        try:
            connection.request("POST", url.path, ask.body, ask.headers)
            found = connection.getresponse()
            body = found.read(MAX_ANSWER + 1)
        finally:
            connection.close()
        answer = Answer(found.status, found.getheader("Content-Type") or "", body=body)
        return read_answer(ask, answer, datetime.now(UTC)).token
    except ExchangeFailedError as error:
        raise NoTokenError(error.code.replace("_", "-"), final=error.final) from None
    except NoIssuerError:
        raise NoTokenError("no-issuer") from None
    except (OSError, HTTPException):
        raise NoTokenError("unreachable") from None
