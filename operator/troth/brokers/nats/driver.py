"""Driver of NATS in operator mode, for servers that store account JWTs (resolver of type full).

One account's JWT contains all credentials and permissions, so one lookup observes them and one push
changes them. The driver pushes the rest of the account (foreign signing keys, imports, exports and
limits) exactly as it was looked up.

NATS has no conditional push. So the driver looks the account up again right before the push and
after it, and reports an error if the account is not the expected one. A push by another client in
the millisecond between the second lookup and the driver's push is still overwritten.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.clients import Client, Clients
from troth.brokers.errors import AdminRefusedError, BrokerError
from troth.brokers.exposure import Connected, connected, hidden, merged, shown_principal
from troth.brokers.nats import account as nats_account
from troth.brokers.nats.account import changed, observed
from troth.brokers.nats.clients import clients_in
from troth.brokers.nats.connection import Link, admits_anybody, data_of, document_of
from troth.brokers.nats.exposure import (
    connections_in,
    listeners_of,
    unknown_listeners,
    user_of,
    without_credential,
)
from troth.brokers.nats.jwt import (
    MAX_JWT,
    Claims,
    Key,
    Kind,
    decode,
    encode,
    issued_at,
    read_creds,
)
from troth.brokers.nats.listing import connections_of, servers_of
from troth.brokers.nats.openings import user_openings
from troth.brokers.nats.provenance import is_rolled_back, operator_keys, unfit
from troth.brokers.protocol import Batch, Failure, Login, Permit
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import MOST_SUPER_USERS, Aspect, Exposure
from troth.trust.grants import Observed

TIMEOUT = 5.0
"""Timeout in seconds for connecting, and for each request."""

_PROBE_AGAIN = 3600.0  # seconds; the server logs every client without a credential
_ROUNDS = 20
_BETWEEN = 0.1  # seconds; a kicked connection is listed until it is closed


@dataclass(frozen=True, slots=True)
class Admin:
    """Admin credentials for one account.

    `account` is the account's public key, and `creds` the `.creds` file of a user of the system
    account. `seed` is the seed of an operator's signing key, because only an operator can sign an
    account. `operator` is the operator's public key.
    """

    account: str
    operator: str
    creds: str = field(repr=False)
    seed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _AccountState:
    """Account as stored at the server."""

    token: str = field(repr=False)
    claims: Claims = field(repr=False)
    trusted: frozenset[str]
    """Public keys of the operator, whose signature makes an account valid."""


@dataclass(frozen=True, slots=True)
class _Connection:
    """Connection of a client; `cid` is unique within its server."""

    server: str
    cid: int
    key: str
    name: str


def connect(broker: MessageBroker, admin: AdminSecret, roots: str, permit: Permit) -> "NatsBroker":
    """Return the driver of a broker; raises `AdminRefusedError`."""
    creds, seed = admin.text("system.creds"), admin.text("operator.nk").strip()
    try:
        read_creds(creds)
    except ValueError as error:
        raise admin.refused("system.creds", f"is {error}") from None
    try:
        signer = Key.of(seed.encode())
    except ValueError as error:
        raise admin.refused("operator.nk", f"is {error}") from None
    if not signer.seed.startswith(b"SO"):
        raise admin.refused("operator.nk", "is the seed of an account or a user, not an operator's")
    servers = [f"tls://{server}" for server in broker.spec.servers]
    described = broker.spec.nats
    assert described is not None, "the registry calls this for NATS alone"
    return NatsBroker(
        servers,
        Admin(described.account, described.operator, creds, seed),
        ssl.create_default_context(cadata=roots or None),
        permit=permit,
    )


class NatsBroker:
    """`Driver` of one account. `servers` are `tls://` addresses of one cluster.

    The server disconnects clients whose permissions change. They reconnect with the same credential
    and have the new permissions. The server also disconnects clients of a revoked credential, and
    rejects them when they reconnect.
    """

    def __init__(
        self,
        servers: Sequence[str],
        admin: Admin,
        tls: ssl.SSLContext,
        *,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
        permit: Permit = lambda: None,
    ) -> None:
        self._admin = admin
        self._entrance = partial(Link, servers, tls=tls, timeout=timeout)
        self._link = self._entrance(creds=admin.creds)
        self._anybody = partial(admits_anybody, servers, tls, timeout)
        self._clock = clock
        self._permit = permit
        self._applying = asyncio.Lock()
        self._last: Claims | None = None
        self._clients: frozenset[Client] | None = None
        self._logins = Connected()
        self._anonymous_seen = False
        self._probed: tuple[float, bool] | None = None

    async def observe(self) -> Observed:
        """Return all credentials, rules and openings of the account; raises `BrokerError`."""
        try:
            claims = (await self._look_up()).claims
            seen, principals = observed(claims), nats_account.principals(claims)
        except ValueError as error:
            raise self._misshapen(error) from None
        account, entries = (
            self._admin.account,
            await connections_of(self._link, self._admin.account),
        )
        signed = {
            rule
            for entry in entries
            if entry.get("issuer_key") == account
            for rule in user_openings(account, str(entry.get("jwt", "")))
        }
        # off the event loop, because 10,000 connections take a tenth of a second
        self._clients = await asyncio.to_thread(clients_in, entries, principals)
        logins = connections_in(entries, principals)
        self._logins = await asyncio.to_thread(connected, logins)
        self._anonymous_seen = without_credential(entries)
        return replace(seen, openings=seen.openings | signed)

    async def clients(self, groups: Collection[str]) -> Clients:  # noqa: ARG002 - as the docstring says
        """Return the clients of the last observation, which lists all connections anyway.

        NATS shows the principal of a client, so `groups` are not needed. Raises `BrokerError`.
        """
        if self._clients is None:
            await self.observe()
        return Clients(self._clients or frozenset())

    async def exposure(self, groups: Collection[str]) -> Exposure:  # noqa: ARG002 - as in `clients`
        """Return the servers' listeners, their super users, and the account's connections.

        The super users are the users of the system account that are connected now, besides Troth's.
        Raises `BrokerError`.
        """
        if self._clients is None:
            await self.observe()
        what = "describing the servers"
        subjects = [f"$SYS.REQ.SERVER.{server}.VARZ" for server in await servers_of(self._link)]
        servers = [await self._link.ask_json(subject, b"", what) for subject in subjects]
        left_out = []
        try:
            anybody = self._anonymous_seen or await self._admits_anybody()
        except BrokerError as error:
            anybody = None
            left_out.append(f"a connection without a credential could not be tried: {error}")
        users = await self._system_users(servers)
        listeners = listeners_of(servers, admits_anybody=anybody)
        all_ = merged(
            *self._logins.hidden,
            *hidden(Aspect.LISTENERS, *left_out),
            *unknown_listeners(listeners),
            *hidden(Aspect.SUPER_USERS, *(["there are too many"] if _too_many(users) else [])),
        )
        return Exposure(
            listeners=listeners,
            super_users=tuple(users[:MOST_SUPER_USERS]),
            clients=self._logins.clients,
            hidden=all_,
        )

    async def _admits_anybody(self) -> bool:
        """Return whether the servers accept a client without a credential, tried once an hour."""
        if self._probed is None or abs(self._clock() - self._probed[0]) >= _PROBE_AGAIN:
            self._probed = self._clock(), await self._anybody()
        return self._probed[1]

    async def _system_users(self, servers: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the connected users of the system accounts besides Troth's, as key/user."""
        own = str(read_creds(self._admin.creds).claims.get("sub"))
        accounts = {str(each["system_account"]) for each in servers if each.get("system_account")}
        entries = [
            entry for each in sorted(accounts) for entry in await connections_of(self._link, each)
        ]
        return sorted(
            {
                shown_principal(f"{entry.get('issuer_key', '')}/{user}")
                for entry in entries
                if (user := user_of(entry)) != own
            }
        )

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        """Carry out changes with at most one push, and return those that failed.

        NATS stores a principal's rules with its credentials. So additions fail without a
        credential, and revoking the last credential also removes the rules. Raises `BrokerError`;
        the batch can be applied again.
        """
        async with self._applying:
            before = await self._look_up()
            try:
                change = changed(before.claims, batch)
            except ValueError as error:
                raise self._misshapen(error) from None
            if change.claims != before.claims:
                await self._push(before, change.claims)
            if change.revoked:
                await self._end(lambda connection: connection.key in change.revoked)
            return change.failures

    async def disconnect(self, principals: Collection[str]) -> None:
        """Close the open connections of principals on all servers; raises `BrokerError`.

        Returns when the servers list them no more. Clients with a valid credential reconnect.
        """
        keys = nats_account.principals((await self._look_up()).claims)
        wanted = frozenset(principals)
        await self._end(
            # A name in a JWT counts only if the account no longer has its signing key.
            lambda connection: keys.get(connection.key, connection.name) in wanted
        )

    async def admits(self, login: Login) -> bool:
        """Return whether the server accepts a `.creds` file; raises `BrokerError`."""
        return await self._entrance(creds=login.secret).lets_in()

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    # The account

    async def _look_up(self) -> _AccountState:
        token = await self._token()
        try:
            claims = decode(token, Kind.OPERATOR)
        except ValueError as error:
            raise self._misshapen(error) from None
        if because := unfit(claims, self._admin.account, self._clock()):
            raise BrokerError(because)
        trusted = await self._trusted()
        # A server stores any JWT that a system user pushes, even one with an untrusted signer, and
        # ignores it then. If Troth signed such claims again, every server would trust them.
        if claims["iss"] not in trusted:
            raise BrokerError(
                f"operator {self._admin.operator} has not signed the NATS server's JWT of account "
                f"{self._admin.account}; push a valid JWT"
            )
        if self._last is not None and is_rolled_back(claims, self._last):
            raise BrokerError(
                f"the NATS server returned an older JWT of account {self._admin.account} than "
                "before, with contents that the newer one lacks; edit the account and push it again"
            )
        self._last = claims
        return _AccountState(token, claims, trusted)

    async def _token(self) -> str:
        subject = f"$SYS.REQ.ACCOUNT.{self._admin.account}.CLAIMS.LOOKUP"
        answer = await self._link.ask(subject, b"", "looking up the account")
        if not answer:
            raise BrokerError(f"the NATS server has no account {self._admin.account}")
        return answer.decode("ascii", errors="replace")

    async def _trusted(self) -> frozenset[str]:
        """Return the keys with which the operator signs accounts."""
        what = "listing the trusted operators"
        data = await self._link.ask_json("$SYS.REQ.SERVER.PING.VARZ", b"", what)
        tokens, operator = data.get("trusted_operators_jwt"), self._admin.operator
        keys = operator_keys(tokens if isinstance(tokens, list) else (), operator)
        if not keys:
            raise BrokerError(
                f"the NATS server does not trust operator {operator}, which the MessageBroker "
                "names; correct nats.operator or nats.servers"
            )
        return keys

    async def _push(self, before: _AccountState, claims: Mapping[str, Any]) -> None:
        try:
            signer = Key.of(self._admin.seed.strip().encode())
        except ValueError as error:
            raise AdminRefusedError(f"the admin's signing seed is {error}") from None
        if signer.public not in before.trusted:
            raise AdminRefusedError(
                f"the key {signer.public} is not one of operator {self._admin.operator}; the "
                "admin's signing seed is of another operator, or of an account"
            )
        # Never older than the replaced JWT, because among servers an account's newest JWT wins.
        token = encode(claims, signer, max(int(self._clock()), issued_at(before.claims)))
        if len(token) > MAX_JWT:
            raise BrokerError(
                f"the account's JWT would have {len(token)} characters, but NATS allows only "
                f"{MAX_JWT}"
            )
        if await self._token() != before.token:
            raise BrokerError("another client changed the account at the same time")
        answer = await self._link.ask(
            "$SYS.REQ.CLAIMS.UPDATE", token.encode(), what := "updating the account", self._permit
        )
        if data_of(answer, what).get("code") != 200:  # noqa: PLR2004 - as in HTTP
            raise BrokerError(f"{what}: the NATS server did not confirm the update")
        if await self._token() != token:
            raise BrokerError("another client changed the account right after the update")
        self._last = decode(token, Kind.OPERATOR)

    def _misshapen(self, error: ValueError) -> BrokerError:
        return BrokerError(
            f"the NATS server's data of account {self._admin.account} is invalid: {error}"
        )

    # Connections

    async def _end(self, chosen: Callable[[_Connection], bool]) -> None:
        """Kick the connections that are open now, and return when all are closed."""
        ended: set[_Connection] = set()
        for round_ in range(_ROUNDS):
            open_ = {connection for connection in await self._connections() if chosen(connection)}
            # Clients that reconnect with a valid credential are not kicked again.
            left = open_ if not round_ else open_ & ended
            if not left:
                return
            for connection in left - ended:
                await self._kick(connection)
            ended |= left
            await asyncio.sleep(_BETWEEN)
        raise BrokerError(f"{len(left)} connections of NATS clients could not be closed")

    async def _kick(self, connection: _Connection) -> None:
        request = json.dumps({"cid": connection.cid}).encode()
        subject, what = f"$SYS.REQ.SERVER.{connection.server}.KICK", "closing a connection"
        answer = await self._link.ask(subject, request, what, self._permit)
        document_of(
            answer, what
        )  # the server's error for a connection that is already gone is ignored

    async def _connections(self) -> list[_Connection]:
        return [
            _connection(entry) for entry in await connections_of(self._link, self._admin.account)
        ]


def _connection(entry: Mapping[str, Any]) -> _Connection:
    try:
        name = decode(entry.get("jwt", ""), Kind.ACCOUNT).get("name", "")
    except ValueError:  # authenticated without a JWT
        name = ""
    key = str(entry.get("issuer_key", ""))
    return _Connection(entry["server"], int(entry["cid"]), key, str(name))


def _too_many(users: Sequence[str]) -> bool:
    return len(users) > MOST_SUPER_USERS
