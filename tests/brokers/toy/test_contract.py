"""A broker unknown to Troth's code passes the contract once it is registered.

Its dialect and driver serve `mqtt`, for which Troth has a model but no adapter.
"""

import secrets
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from tests.brokers.contract import Contract, Opened, Operation
from tests.brokers.toy.dialect import ToyDialect
from tests.brokers.toy.server import ADMIN, SERVERS, Connection, May, Permission, ToyServer
from tests.builders import Manifest
from tests.messaging import broker
from tests.reconcile.brokers.at_work import secret
from troth.brokers import registry
from troth.brokers.connecting import connect
from troth.brokers.protocol import Credential, Driver, Login
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Action, Grant, Observed, Rule, Slot, Topic

PRINCIPALS = ("shop", "shop.till")
NAMES = ("a", "a.b", "b", "a".ljust(249, "x"))
GROUPS = ("", "q", "r")
STRANGER = "stranger"
THEIRS = (
    Permission(STRANGER, May.WRITE, "a"),
    Permission(STRANGER, May.READ, "", prefix=True),
    Permission(STRANGER, May.JOIN, "theirs"),
)


@dataclass
class AtToy:
    """A test's own server, administered by the driver from the registry."""

    address: str
    server: ToyServer
    type = BrokerType.MQTT
    principals = PRINCIPALS
    names = NAMES
    prefix = "toy-"

    @property
    def described(self) -> Manifest:
        return {"mqtt": {"servers": [self.address], "adminSecretRef": {"name": "toy-admin"}}}

    @property
    def secrets(self) -> list[Manifest]:
        return [secret("toy-admin", self._admin)]

    @property
    def broker(self) -> Driver:
        declared = MessageBroker.parse(broker(described=self.described))
        return connect(
            declared, {key: text.encode() for key, text in self._admin.items()}, "", lambda: None
        )

    @property
    def _admin(self) -> dict[str, str]:
        return {"username": ADMIN, "password": self.server.admin_password}

    def group(self, _: str) -> str:
        return "q"

    def grants(self) -> st.SearchStrategy[Grant]:
        return st.builds(
            Grant,
            st.sampled_from(PRINCIPALS),
            st.sampled_from(Action),
            st.builds(Topic, st.sampled_from(NAMES), prefix=st.booleans()),
            st.sampled_from(GROUPS),
        )

    def meant(self, grants: Iterable[Grant]) -> set[Operation]:
        grants = list(grants)
        operations = set()
        for grant in grants:
            covered = [
                name
                for name in NAMES
                if name == grant.topic.name
                or (grant.topic.prefix and name.startswith(grant.topic.name))
            ]
            if grant.action is Action.PUBLISH:
                operations |= {Operation(grant.principal, "publish", name) for name in covered}
                continue
            joined = {
                other.group
                for other in grants
                if (other.principal, other.action) == (grant.principal, Action.CONSUME)
            }
            operations |= {
                Operation(grant.principal, "consume", name, group)
                for name in covered
                for group in (joined | {""}) & set(GROUPS)
            }
        return operations

    async def succeeding(self, logins: Collection[Login]) -> set[Operation]:
        done = set()
        for user, password in ((each.principal, each.secret) for each in logins):
            if not self.server.lets_in(user, password):
                continue
            for name in NAMES:
                if self.server.permits(user, May.WRITE, name):
                    done.add(Operation(user, "publish", name))
                if self.server.permits(user, May.READ, name):
                    done |= {
                        Operation(user, "consume", name, group)
                        for group in GROUPS
                        if not group or self.server.permits(user, May.JOIN, group)
                    }
        return done

    def issue(self, principal: str, slot: Slot) -> tuple[Credential, Login]:
        password = secrets.token_urlsafe(32)
        return Credential(principal, slot, password), Login(principal, slot, password)

    async def make_foreign(self) -> Observed:
        self.server.passwords[STRANGER, 1] = "theirs"
        self.server.change(THEIRS, ())
        return Observed(
            frozenset({(STRANGER, Slot.SECOND)}),
            frozenset(
                {
                    Rule(STRANGER, "TOPIC", "NAME", "a", "WRITE"),
                    Rule(STRANGER, "TOPIC", "PREFIX", "", "READ"),
                    Rule(STRANGER, "GROUP", "NAME", "theirs", "JOIN"),
                }
            ),
        )

    async def foreign(self) -> object:
        return set(THEIRS) & self.server.permissions, self.server.passwords.get((STRANGER, 1))

    @asynccontextmanager
    async def connected(
        self,
        login: Login,
        topic: str,  # noqa: ARG002 - a toy does not show topics
        group: str,  # noqa: ARG002 - nor groups
        *names: str,
    ) -> AsyncIterator[None]:
        assert self.server.lets_in(login.principal, login.secret)
        opened = [Connection(login.principal, name) for name in names]
        self.server.connected += opened
        yield
        for each in opened:
            self.server.connected.remove(each)

    async def writes(self) -> int:
        return self.server.writes


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setitem(registry.DIALECTS, BrokerType.MQTT, ToyDialect())

    @asynccontextmanager
    async def opened() -> AsyncIterator[AtToy]:
        address = f"toy-{secrets.token_hex(5)}.example:1"
        SERVERS[address] = ToyServer(secrets.token_urlsafe(8))
        yield AtToy(address, SERVERS[address])
        del SERVERS[address]

    return opened


class TestToy(Contract):
    """Runs the contract, each test on a fresh server."""
