"""Calls with requests: a transport adapter.

    adapter = Adapter(identity, {"https://ledger.finance.svc:8443": "finance/ledger"})
    with requests.Session() as session:
        adapter.mount(session)
        session.post("https://ledger.finance.svc:8443/entries", json=...)

This is an adapter and no auth, because an auth does not know the connection, and a token may only
be sent on a connection with its certificate. Credentials are added to a copy that the session never
sees. So a redirect does not carry them elsewhere, and `response.request` shows no token. For a
callee, `verify`, `cert`, proxies and their environment variables have no effect: only the roots of
this identity verify its certificate.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.exceptions import HTTPError

from troth.edge.identity.files import Identity
from troth.edge.outbound.calls import Calls
from troth.edge.outbound.driving import ANSWER_SECONDS, CONNECT_SECONDS, Blocking
from troth.edge.outbound.exchange import MAX_ANSWER, Answer
from troth.edge.outbound.failures import RedirectRefusedError
from troth.edge.outbound.flows import Post, Ready, no_answer
from troth.edge.outbound.transactions import TXN_TOKEN


class _Connections(HTTPAdapter):
    """requests' own adapter with one TLS context, regardless of the session and the environment."""

    def __init__(self, context: SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in requests
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401
        """Add no roots: requests would make urllib3 load certifi's roots into the context."""


class Adapter(BaseAdapter):
    """Sends requests to callees as this identity, and all other requests with `otherwise`.

    `callees` and `account_token` are those of `calls.Calls`; `otherwise` defaults to requests' own
    adapter. `start_transaction` and `narrow_transaction` are those of `driving.Blocking`. Raises
    the errors in `failures` besides requests'.
    """

    def __init__(
        self,
        identity: Identity,
        callees: Mapping[str, str],
        *,
        account_token: Path | None = None,
        otherwise: BaseAdapter | None = None,
    ) -> None:
        super().__init__()
        self._calls = Calls(identity, callees, _Connections, account_token)
        self._driver = Blocking(self._calls, _post, _Connections.close)
        self._otherwise = otherwise or HTTPAdapter()
        self.start_transaction = self._driver.start_transaction
        self.narrow_transaction = self._driver.narrow_transaction

    def mount(self, session: requests.Session) -> None:
        """Send all requests of a session through this adapter."""
        session.mount("https://", self)
        session.mount("http://", self)

    def send(  # noqa: PLR0917 - requests' signature
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - requests' signature
        timeout: Any = None,  # noqa: ANN401
        verify: Any = True,  # noqa: ANN401, FBT002
        cert: Any = None,  # noqa: ANN401
        proxies: Any = None,  # noqa: ANN401
    ) -> requests.Response:
        """Send one request."""
        url = urlsplit(request.url or "")
        callee = self._calls.callee_at(url.scheme, url.hostname or "", url.port)
        if callee is None:
            return self._otherwise.send(_copy(request, {}), stream, timeout, verify, cert, proxies)
        ready = self._driver.begin(callee)
        try:
            response = self._send(ready, request, stream=stream, timeout=timeout)
            challenges = _challenges(request, response)
            again = self._driver.again(ready, challenges) if challenges else None
            if again is not None:
                response.close()
                response = self._send(again, request, stream=stream, timeout=timeout)
            self._check_redirect(callee, response)
            return response
        finally:
            # A closed pool releases connections in use, whose bodies can still be read.
            self._driver.end(ready)

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()
        self._otherwise.close()

    def _check_redirect(self, callee: str, response: requests.Response) -> None:
        location = response.headers.get("Location")
        try:
            self._calls.check_redirect(callee, response.url, response.status_code, location)
        except RedirectRefusedError:
            response.close()
            raise

    def _send(
        self,
        ready: Ready[_Connections],
        request: requests.PreparedRequest,
        **how: Any,  # noqa: ANN401
    ) -> requests.Response:
        headers = ready.call.headers(request.headers.get, ready.token)
        response = self._driver.connection(ready).send(_copy(request, headers), **how)
        response.request = request
        return response


def _copy(
    request: requests.PreparedRequest, headers: Mapping[str, str]
) -> requests.PreparedRequest:
    """Return the request with other headers; a transaction is sent only if it is set again."""
    copied = request.copy()
    copied.headers.pop(TXN_TOKEN, None)
    copied.headers.update(headers)
    return copied


def _challenges(request: requests.PreparedRequest, response: requests.Response) -> list[str]:
    """Return the challenges of a 401, [] if the request cannot be sent again."""
    again = request.body is None or isinstance(request.body, (bytes, str))
    if response.status_code != HTTPStatus.UNAUTHORIZED or not again:
        return []
    return list(response.raw.headers.getlist("WWW-Authenticate"))


def _post(step: Post) -> Answer:
    """Send to the issuer on a separate connection, because fetches are minutes apart."""
    ask = step.ask
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", _Connections(step.context))
        try:
            with session.post(
                ask.url,
                data=ask.body,
                headers=ask.headers,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = response.raw.read(MAX_ANSWER + 1, decode_content=False)
        except (requests.RequestException, HTTPError) as error:
            raise no_answer(error) from None
    return Answer.of(response.status_code, response.headers, body)
