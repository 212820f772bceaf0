"""The Kafka adapter passes the contract."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import (
    AclBinding,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from hypothesis import strategies as st

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.contract import Contract, Opened, Operation
from tests.brokers.kafka.clients import (
    DENIED,
    DONE,
    REFUSED,
    Client,
    administered,
    bare,
    fill_topics,
    joined,
    make_topics,
)
from tests.builders import Manifest
from tests.reconcile.brokers.kafka.stage import Stage
from troth.brokers.kafka.acls import EVERYTHING
from troth.brokers.kafka.driver import Kafka
from troth.brokers.protocol import Batch, Credential, Login
from troth.resources.messaging.broker_type import BrokerType
from troth.trust.grants import Action, Grant, Observed, Rule, Slot, Topic

GROUPS = ("packing", "billing")


@dataclass
class AtKafka:
    """One test's part of the server: its own topics and principals."""

    server: KafkaServer
    broker: Kafka
    mine: str
    names: tuple[str, ...]
    type = BrokerType.KAFKA

    @property
    def principals(self) -> tuple[str, str]:
        return f"{self.mine}shop", f"{self.mine}shop.till"

    @property
    def prefix(self) -> str:
        return self.mine

    @property
    def described(self) -> Manifest:
        return {"kafka": Stage(self.server, self.mine).broker()["spec"]["kafka"]}

    @property
    def secrets(self) -> list[Manifest]:
        market = Stage(self.server, self.mine).market()
        return [each for each in market if each["kind"] == "Secret"]

    @property
    def stranger(self) -> str:
        return f"{self.mine}stranger"

    def group(self, principal: str) -> str:
        return (
            f"{principal}.{GROUPS[0]}"  # principals in one group would take each other's messages
        )

    def grants(self) -> st.SearchStrategy[Grant]:
        topics = st.builds(Topic, st.sampled_from(self.names), prefix=st.booleans())
        return st.sampled_from(self.principals).flatmap(
            lambda principal: st.builds(
                Grant,
                st.just(principal),
                st.sampled_from(Action),
                topics,
                st.sampled_from([f"{principal}.{group}" for group in GROUPS]),
            )
        )

    def meant(self, grants: Iterable[Grant]) -> set[Operation]:
        grants = list(grants)
        operations = set()
        for grant in grants:
            for name in self.names:
                if not (
                    name == grant.topic.name
                    or (grant.topic.prefix and name.startswith(grant.topic.name))
                ):
                    continue
                if grant.action is Action.PUBLISH:
                    operations.add(Operation(grant.principal, "publish", name))
                    continue
                # Kafka authorizes topics and groups separately.
                operations |= {
                    Operation(grant.principal, "consume", name, other.group)
                    for other in grants
                    if other.principal == grant.principal
                    and other.action is Action.CONSUME
                    and other.group in self._groups(grant.principal)
                }
        return operations

    def issue(self, principal: str, slot: Slot) -> tuple[Credential, Login]:
        password = secrets.token_urlsafe(16)
        return Credential(principal, slot, password), Login(principal, slot, password)

    async def succeeding(self, logins: Collection[Login]) -> set[Operation]:
        return await asyncio.to_thread(self._succeeding, logins)

    def _succeeding(self, logins: Collection[Login]) -> set[Operation]:
        fill_topics(self.server, self.names)
        tries = [
            (Client(self.server, login.principal, login.secret, login.slot), operation)
            for login in logins
            for name in self.names
            for operation in (
                Operation(login.principal, "publish", name),
                *(
                    Operation(login.principal, "consume", name, group)
                    for group in self._groups(login.principal)
                ),
            )
        ]

        def attempt(tried: tuple[Client, Operation]) -> bool:
            client, (_, what, name, group) = tried
            came = client.publish(name) if what == "publish" else client.consume(name, group)
            assert came in {DONE, REFUSED, *DENIED}
            return came == DONE

        with ThreadPoolExecutor(8) as pool:
            outcomes = pool.map(attempt, tries)
            return {tried[1] for tried, done in zip(tries, outcomes, strict=True) if done}

    def _groups(self, principal: str) -> list[str]:
        return [f"{principal}.{group}" for group in GROUPS]

    @asynccontextmanager
    async def connected(
        self, login: Login, topic: str, group: str, *names: str
    ) -> AsyncIterator[None]:
        client = Client(self.server, login.principal, login.secret, login.slot)
        async with joined(client, topic, group, *names):
            yield

    async def make_foreign(self) -> Observed:
        # Foreign state that overlaps with Troth's: same topics, wildcards, a deny, another
        # principal type.
        ours, theirs, topic = self.principals[0], self.stranger, self.names[0]
        acls = [
            AclBinding("TOPIC", topic, "LITERAL", f"User:{theirs}", "*", "WRITE", "ALLOW"),
            AclBinding("TOPIC", "*", "LITERAL", f"User:{theirs}", "10.0.0.1", "READ", "DENY"),
            AclBinding("TOPIC", topic[:-1], "PREFIXED", f"User:{theirs}", "*", "ALL", "ALLOW"),
            AclBinding("TOPIC", topic, "LITERAL", f"Group:{theirs}", "*", "WRITE", "ALLOW"),
            AclBinding(
                "BROKER", "kafka-cluster", "LITERAL", f"User:{theirs}", "*", "CREATE", "ALLOW"
            ),
            AclBinding("TOPIC", topic, "LITERAL", f"User:{ours}", "*", "DELETE", "DENY"),
        ]
        admin = bare(self.server)
        for made in admin.create_acls(acls).values():
            made.result()
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
        upsertion = UserScramCredentialUpsertion(theirs, info, b"theirs")
        for changed in admin.alter_user_scram_credentials([upsertion]).values():
            changed.result()
        return Observed(
            frozenset({(theirs, Slot.SECOND)}),
            frozenset(
                {
                    Rule(theirs, "TOPIC", "LITERAL", topic, "WRITE", "ALLOW", "*"),
                    Rule(theirs, "TOPIC", "LITERAL", "*", "READ", "DENY", "10.0.0.1"),
                    Rule(theirs, "TOPIC", "PREFIXED", topic[:-1], "ALL", "ALLOW", "*"),
                    Rule(f"Group:{theirs}", "TOPIC", "LITERAL", topic, "WRITE", "ALLOW", "*"),
                    Rule(theirs, "CLUSTER", "LITERAL", "kafka-cluster", "CREATE", "ALLOW", "*"),
                    Rule(ours, "TOPIC", "LITERAL", topic, "DELETE", "DENY", "*"),
                }
            ),
        )

    async def foreign(self) -> object:
        return await asyncio.to_thread(self._foreign)

    def _foreign(self) -> object:
        admin = bare(self.server)
        ours = {f"User:{principal}" for principal in self.principals}
        acls = [
            str(acl)
            for acl in admin.describe_acls(EVERYTHING).result()
            if acl.principal not in ours or acl.permission_type.name == "DENY"
        ]
        description = admin.describe_user_scram_credentials([self.stranger])
        assert isinstance(description, dict)
        (held,) = description[self.stranger].result().scram_credential_infos
        theirs = Client(self.server, self.stranger, "theirs", Slot.SECOND)
        return sorted(acls), held.mechanism, held.iterations, theirs.publish(self.names[0])

    async def writes(self) -> int:
        """Return how often the log names one of the test's users; each new ACL does."""
        return self.server.records.count(f"User:{self.mine}".encode())

    async def close(self) -> None:
        """Remove this test's rules."""
        seen = await self.broker.observe()
        left = [rule for rule in seen.rules if self.mine in rule.principal]
        await self.broker.apply(Batch(removals=tuple(left)))
        await self.broker.close()


@pytest.fixture(scope="module")
def topics(server: KafkaServer) -> tuple[str, ...]:
    """Topics of the module, created once because creation takes most of the time."""
    mine = f"t{secrets.token_hex(5)}."
    names = (*(f"{mine}{name}" for name in ("a", "a.b", "b")), f"{mine}a".ljust(249, "x"))
    make_topics(server, names)
    return names


@pytest.fixture
def opened(server: KafkaServer, topics: tuple[str, ...]) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[AtKafka]:
        harness = AtKafka(server, administered(server), f"t{secrets.token_hex(5)}.", topics)
        try:
            yield harness
        finally:
            await harness.close()

    return opened


class TestKafka(Contract):
    """Runs the contract, each test with its own principals."""
