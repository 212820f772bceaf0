"""NATS servers show their listeners, their connections, and who is in the system account."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sandbox.brokers.nats import Keys, NatsServer, account_creds
from sandbox.control_plane import free_port
from tests.audit.broker_scene import found as judged
from tests.audit.broker_scene import observed_broker
from tests.brokers.nats.stage import Stage, consume, stage
from tests.brokers.relays import relay
from tests.brokers.waiting import becomes
from troth.audit.rules.brokers import anonymous_access, plaintext_listener
from troth.brokers.errors import UnreachableError
from troth.brokers.nats.exposure import connections_in, listeners_of, unknown_listeners
from troth.brokers.nats.jwt import Key, Kind, encode, read_creds
from troth.resources.messaging.observed_broker import (
    Aspect,
    Authentication,
    Encryption,
    Exposure,
    ObservedClient,
    ObservedListener,
)

REQUIRED = ObservedListener(
    name="nats", encryption=Encryption.REQUIRED, authentication=Authentication.REQUIRED
)


async def exposure(nats: Stage) -> Exposure:
    await nats.broker.observe()
    return await nats.broker.exposure(())


def sentinel(keys: Keys) -> str:
    """Return the JWT of a user for clients without a credential."""
    user = Key.generate(Kind.USER)
    nats = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "bearer_token": True}
    claims = {"name": "guest", "sub": user.public, "nats": {**nats, "type": "user", "version": 2}}
    return encode(claims, keys.application, int(time.time()))


@pytest.fixture(scope="module")
def open_server() -> Iterator[NatsServer]:
    """Run a server that lets in anybody, and has listeners without TLS."""

    def settings(keys: Keys) -> Mapping[str, Any]:
        return {
            "default_sentinel": sentinel(keys),
            "websocket": {"listen": f"127.0.0.1:{free_port()}", "no_tls": True},
            "mqtt": {"listen": f"127.0.0.1:{free_port()}"},
            "leafnodes": {"listen": f"127.0.0.1:{free_port()}"},
        }

    with NatsServer.serving(settings) as started:
        yield started


async def test_closed_server_shows_one_listener_with_tls_and_credentials(nats: Stage) -> None:
    found = await exposure(nats)
    assert found == Exposure(listeners=(REQUIRED,))


async def test_login_from_two_addresses_is_shown_with_both(nats: Stage) -> None:
    await nats.give(["shop"], consume("shop", "a"))
    async with relay(nats.server.address, "127.0.0.2") as elsewhere:
        await nats.connect("shop", name="one")
        await nats.connect("shop", name="two", at=f"tls://{elsewhere}")
        assert (await exposure(nats)).clients == (
            ObservedClient(
                principal="shop", names=("one", "two"), addresses=("127.0.0.1", "127.0.0.2")
            ),
        )


async def test_foreign_user_is_shown_with_its_signer(nats: Stage) -> None:
    creds = account_creds("witness", nats.account)
    await nats.enter(creds, "_INBOX")
    user = read_creds(creds).key.public
    assert (await exposure(nats)).clients == (
        ObservedClient(principal=f"{nats.account.public}/{user}", addresses=("127.0.0.1",)),
    )


async def test_closed_connection_is_not_shown(nats: Stage) -> None:
    await nats.give(["shop"])
    client = await nats.connect("shop")
    assert (await exposure(nats)).clients
    await client.close()

    async def gone() -> bool:
        return not (await exposure(nats)).clients

    await becomes(gone)


async def test_user_of_the_system_account_is_a_super_user(nats: Stage) -> None:
    creds = account_creds("other", nats.server.keys.system)
    client = await nats.enter(creds, "_INBOX")
    user, account = read_creds(creds).key.public, nats.server.keys.system.public
    assert (await exposure(nats)).super_users == (f"{account}/{user}",)
    await client.close()

    async def gone() -> bool:
        return not (await exposure(nats)).super_users

    await becomes(gone)


async def test_server_that_lets_in_anybody_shows_it(open_server: NatsServer) -> None:
    async with stage(open_server) as nats:
        shown = await exposure(nats)
    found = {each.name: each for each in shown.listeners}
    assert {name: (each.encryption, each.authentication) for name, each in found.items()} == {
        "nats": (Encryption.REQUIRED, Authentication.NONE),
        "websocket": (Encryption.NONE, Authentication.NONE),
        "mqtt": (Encryption.NONE, Authentication.NONE),
        "leaf": (Encryption.NONE, Authentication.UNKNOWN),
    }
    at = observed_broker(**shown.manifest())
    assert {each.about for each in judged(anonymous_access.RULE, at).findings} == {
        *("nats", "websocket", "mqtt")
    }
    assert {each.about for each in judged(plaintext_listener.RULE, at).findings} == {
        *("websocket", "mqtt", "leaf")
    }


async def test_connection_without_a_credential_is_tried_once_an_hour(
    nats: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, now = [], [0.0]

    async def tried() -> bool:
        tries.append(now[0])
        return False

    monkeypatch.setattr(nats.broker, "_anybody", tried)
    monkeypatch.setattr(nats.broker, "_clock", lambda: time.time() + now[0])
    for _ in range(2):
        await exposure(nats)
    assert len(tries) == 1
    now[0] = 3601.0
    await exposure(nats)
    assert len(tries) == 2


async def test_attempt_that_fails_leaves_authentication_unknown(
    nats: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tried() -> bool:
        raise UnreachableError("nobody answers")

    monkeypatch.setattr(nats.broker, "_anybody", tried)
    found = await exposure(nats)
    assert [each.authentication for each in found.listeners] == [Authentication.UNKNOWN]
    assert [each.aspect for each in found.hidden] == [Aspect.LISTENERS]
    assert "nobody answers" in found.hidden[0].reason


async def test_exposure_needs_no_earlier_observation(nats: Stage) -> None:
    await nats.give(["shop"])
    await nats.connect("shop")
    assert (await nats.broker.exposure(())).clients


@pytest.mark.parametrize(
    "varz",
    [
        {},
        {"websocket": None, "mqtt": [], "leaf": "x", "cluster": 1},
        {"websocket": {"port": "x"}, "mqtt": {"port": True}},
    ],
)
def test_odd_settings_of_a_server_are_read_as_the_weaker_ones(varz: dict[str, object]) -> None:
    (clients, *_) = listeners_of([varz], admits_anybody=False)
    assert all(each.encryption is not Encryption.REQUIRED for each in (clients, *_))


def test_weaker_one_of_two_servers_counts() -> None:
    good = {"auth_required": True, "tls_required": True}
    assert listeners_of([good, good], admits_anybody=False) == (REQUIRED,)
    (found,) = listeners_of([good, {"auth_required": True}, good], admits_anybody=False)
    assert found.encryption is Encryption.NONE


@pytest.mark.parametrize(
    ("dates", "mqtt", "encryption"),
    [
        ({"tls_cert_not_after": "2027"}, {"port": 1}, Encryption.NONE),
        ({"tls_cert_not_after": "2027"}, {"port": 1, "tls_cert_not_after": "2027"}, "Required"),
        ({}, {"port": 1}, Encryption.UNKNOWN),
    ],
)
def test_encryption_of_mqtt_follows_from_its_certificate(
    dates: dict[str, object], mqtt: dict[str, object], encryption: str
) -> None:
    found = {
        each.name: each for each in listeners_of([{**dates, "mqtt": mqtt}], admits_anybody=None)
    }
    assert found["mqtt"].encryption == encryption


def test_listener_of_clients_whose_encryption_is_unknown_is_said() -> None:
    secure = {"auth_required": True, "tls_required": True}
    varz = {**secure, "websocket": {"port": 1}, "cluster": {"cluster_port": 2}}
    (said,) = unknown_listeners(listeners_of([varz], admits_anybody=False))
    assert said.aspect is Aspect.LISTENERS
    says = "the broker does not show whether listener websocket requires TLS and credentials"
    assert said.reason == says


def test_listeners_of_servers_are_not_said() -> None:
    secure = {"auth_required": True, "tls_required": True}
    varz = {**secure, "cluster": {"cluster_port": 2, "tls_required": True}}
    assert unknown_listeners(listeners_of([varz], admits_anybody=False)) == ()


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({}, "/"),
        ({"issuer_key": "K", "authorized_user": "U"}, "shop"),
        ({"issuer_key": "S", "authorized_user": "U"}, "S/U"),
        ({"issuer_key": "F", "authorized_user": "U"}, "F/U"),
        ({"issuer_key": ["x"], "ip": 7, "name": None, "jwt": 3}, "['x']/"),
    ],
)
def test_entry_of_a_server_is_read_without_an_error(entry: dict[str, object], login: str) -> None:
    (found,) = connections_in([entry], {"K": "shop", "F": "F"})
    assert found.principal == login
