"""Connection of a system-account user to NATS; each request has a timeout.

There are no retries. After a lost connection, the next request connects again.
"""

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from nats import errors

from troth.brokers.errors import AdminRefusedError, BrokerError, NotTakenError, UnreachableError
from troth.brokers.nats.jwt import Claims, read_creds
from troth.brokers.protocol import Permit
from troth.clients.nats import NatsClient
from troth.resources.schema.bounded_json import read_json

Answer = dict[str, Any]
T = TypeVar("T")

_CLOSE_SECONDS = 0.5
_LARGE = 64 * 1024  # bytes
_REFUSED = ("authorization", "authentication", "expired", "revoked")


class Link:
    """Connection kept until `close`; `timeout` is in seconds, for connecting and per request."""

    def __init__(
        self, servers: Sequence[str], creds: str, tls: ssl.SSLContext, timeout: float
    ) -> None:
        self._servers = list(servers)
        self._creds = creds
        self._tls = tls
        self._timeout = timeout
        self._client: NatsClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = asyncio.Event()
        self._forbidden = False

    async def ask(
        self, subject: str, payload: bytes, what: str, permit: Permit = lambda: None
    ) -> bytes:
        """Send a request and return the first answer; errors begin with its purpose, `what`.

        A request that changes something has a `permit`, whose exception passes.
        """

        async def request(client: NatsClient) -> bytes:
            if len(payload) > client.max_payload:
                raise BrokerError(
                    f"{what}: {len(payload)} bytes exceed the NATS server's max_payload of "
                    f"{client.max_payload}"
                )
            permit()
            answer: bytes = (await client.request(subject, payload, timeout=self._timeout)).data
            return answer

        return await self._bounded(request, what)

    async def ask_json(self, subject: str, payload: bytes, what: str) -> Answer:
        """Send a request and return the server's `data`; raises `BrokerError` for its `error`."""
        answer = await self.ask(subject, payload, what)
        # off the event loop, because a list of connections may have megabytes
        large = len(answer) > _LARGE
        return await asyncio.to_thread(data_of, answer, what) if large else data_of(answer, what)

    async def ask_all(self, subject: str, count: Callable[[bytes], int], what: str) -> list[bytes]:
        """Send a request to every server and return the answers.

        `count` returns the number of servers from an answer; the last answer counts. Raises
        `UnreachableError` if a server does not answer in time.
        """

        async def gather(client: NatsClient) -> list[bytes]:
            inbox = client.new_inbox()
            answers: list[bytes] = []
            subscription = await client.subscribe(inbox)
            try:
                await client.publish(subject, reply=inbox)
                while not answers or len(answers) < count(answers[-1]):
                    message = await subscription.next_msg(timeout=self._timeout)
                    if not message.data:  # a status message, here only "no responders"
                        raise errors.NoRespondersError
                    answers.append(message.data)
            finally:
                with contextlib.suppress(errors.Error):
                    await subscription.unsubscribe()
            return answers

        return await self._bounded(gather, what)

    async def lets_in(self) -> bool:
        """Return whether the server accepts the credential, and close the connection.

        Raises `BrokerError` if the server gives no clear answer.
        """
        try:
            await self._connected()
        except NotTakenError:
            return False
        finally:
            await self.close()
        return True

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close_within(_CLOSE_SECONDS)

    async def _bounded(self, act: Callable[[NatsClient], Coroutine[Any, Any, T]], what: str) -> T:
        client = await self._connected()
        self._forbidden = False
        try:
            return await self._unless_closed(act(client))
        except errors.NoRespondersError:
            raise AdminRefusedError(
                f"{what}: nothing answers; the credential is not of the system account, or the "
                "server stores no account JWTs (resolver of type full)"
            ) from None
        except (TimeoutError, OSError, errors.Error) as error:
            await self.close()
            if self._forbidden:
                raise AdminRefusedError(
                    f"{what}: the credential is not allowed to do this"
                ) from None
            raise UnreachableError(f"{what}: no answer ({type(error).__name__})") from None

    async def _unless_closed(self, asking: Coroutine[Any, Any, T]) -> T:
        """Return an answer; the library itself would keep waiting after a lost connection."""
        task = asyncio.ensure_future(asking)
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait(
                {task, closed},
                timeout=2 * self._timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not task.done():
                raise errors.ConnectionClosedError
            return task.result()
        finally:
            task.cancel()
            closed.cancel()

    async def _connected(self) -> NatsClient:
        async with self._connecting:
            if self._client is not None and self._client.is_connected:
                return self._client
            await self.close()
            self._client = await self._connect()
            return self._client

    async def _connect(self) -> NatsClient:
        try:
            user = read_creds(self._creds)
        except ValueError as error:
            raise AdminRefusedError(f"the credential is {error}") from None
        client, seen, closed = NatsClient(), list[Exception](), asyncio.Event()

        async def keep(error: Exception) -> None:
            seen.append(error)
            if "permissions violation" in str(error).lower():
                self._forbidden = True

        async def tell() -> None:
            closed.set()

        def sign(nonce: str) -> bytes:
            # The library continues without TLS if the server, or a man in the middle, offers none.
            if not client._server_info.get("tls_required"):  # noqa: SLF001
                raise ConnectionError("no TLS")
            return base64.b64encode(user.key.sign(nonce.encode()))

        try:
            async with asyncio.timeout(self._timeout):
                await client.connect(
                    self._servers,
                    name="troth",
                    tls=self._tls,
                    user_jwt_cb=lambda: bytearray(user.token.encode()),
                    signature_cb=sign,
                    error_cb=keep,
                    closed_cb=tell,
                    allow_reconnect=False,
                    # Each server twice, in turn; 0 would retry without limit.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, int(self._timeout)),
                )
        except (TimeoutError, OSError, errors.Error) as error:
            raise _not_connected([*seen, error], user.claims) from None
        self._closed = closed
        return client


async def admits_anybody(servers: Sequence[str], tls: ssl.SSLContext, seconds: float) -> bool:
    """Return whether a server accepts a client without a credential; raises `BrokerError`."""
    client, seen = NatsClient(), list[Exception]()

    async def keep(error: Exception) -> None:
        seen.append(error)

    try:
        async with asyncio.timeout(seconds):
            await client.connect(
                list(servers),
                name="troth",
                tls=tls,
                error_cb=keep,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=max(1, int(seconds)),
            )
    except (TimeoutError, OSError, errors.Error) as error:
        refusal = _not_connected([*seen, error], {})
        if isinstance(refusal, NotTakenError):
            return False
        raise refusal from None
    finally:
        await client.close_within(_CLOSE_SECONDS)
    return True


def data_of(answer: bytes, what: str) -> Answer:
    """Return the `data` of a server's answer; raises `BrokerError` for its `error`."""
    document = document_of(answer, what)
    error = document.get("error")
    if error:
        description = error.get("description") if isinstance(error, dict) else None
        raise BrokerError(f"{what}: {description or 'the server rejects it'}")
    data = document.get("data")
    return data if isinstance(data, dict) else {}


def document_of(answer: bytes, what: str) -> Answer:
    """Return a server's whole answer, a JSON object; raises `BrokerError`."""
    try:
        document = read_json(answer)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BrokerError(f"{what}: the answer is not a JSON object")
    return document


def _not_connected(seen: list[Exception], shown: Claims) -> BrokerError:
    for error in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return BrokerError(f"the NATS server's certificate is invalid: {error.verify_message}")
        if any(word in str(error).lower() for word in _REFUSED):
            return NotTakenError(f"the NATS server rejects the admin credential{_ended(shown)}")
    if any(str(error) == "no TLS" for error in seen):
        return BrokerError("the NATS server offers no TLS, so nothing was sent to it")
    return UnreachableError(f"the NATS server cannot be reached ({type(seen[0]).__name__})")


def _ended(shown: Claims) -> str:
    """Return when a credential expired, "" if it has not; the server does not report this."""
    end = shown.get("exp")
    if not isinstance(end, int) or not 0 < end <= time.time():
        return ""
    return f", which expired on {time.strftime('%Y-%m-%d at %H:%M:%S UTC', time.gmtime(end))}"
