"""The Kafka floor: its own admin client."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import wait
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

from confluent_kafka.admin import (
    AclBinding,
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from benchmarks.brokers.client import PATIENCE, BareBroker
from benchmarks.brokers.market import OTHER, PRINCIPALS
from benchmarks.fleet.topology import Manifest
from sandbox.brokers.kafka import KafkaServer
from troth.brokers.kafka.acls import EVERYTHING, binding_of, filter_of, rule_of
from troth.brokers.kafka.driver import ITERATIONS
from troth.trust.grants import Rule

LOOK_SECONDS = 0.002
AT_ONCE = 250
"""Passwords per call: the client hashes them within its timeout."""


class BareKafka(BareBroker[KafkaServer]):
    """The admin client of librdkafka."""

    name = "Kafka"

    def __init__(self, server: KafkaServer) -> None:
        super().__init__(server)
        self._admin = AdminClient(
            {
                "bootstrap.servers": server.admin_address,
                "security.protocol": "ssl",
                "ssl.certificate.location": str(server.administrator.certificate),
                "ssl.key.location": str(server.administrator.key),
                "ssl.ca.location": str(server.authority.certificate),
                "log_level": 0,
            }
        )
        self._bindings: list[AclBinding] = []
        self._users: list[str] = []

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator[Self]:
        """Start a server and connect to it."""
        with KafkaServer.start() as server:
            yield cls(server)

    def _reached(self) -> Manifest:
        return {"bootstrapServers": [self._server.client_address]}

    async def remember(self) -> None:
        """Record what Troth made, so that `tell` can make the same for other principals."""
        rules = [rule_of(each) for each in await asyncio.to_thread(self._acls)]
        named = [rule for rule in rules if rule.principal.startswith(PRINCIPALS)]
        self._bindings = [
            binding_of(replace(rule, principal=f"{OTHER}-{rule.principal}")) for rule in named
        ]
        self._users = sorted({f"{OTHER}-{rule.principal}" for rule in named})

    async def tell(self) -> None:
        """Set the password of each principal, and create all ACLs with one call."""
        await asyncio.to_thread(self._tell)

    async def forget(self) -> None:
        """Delete the ACLs; the passwords stay."""
        filters = [filter_of(rule_of(each)) for each in self._bindings]
        answers = self._admin.delete_acls(filters, request_timeout=PATIENCE)
        await asyncio.to_thread(_done, answers.values())

    async def look(self) -> None:
        """Read all credentials and all ACLs."""
        await asyncio.to_thread(self._look)

    async def change(self, topic: str, *, live: bool) -> None:
        """Create or delete the ACL with which `OTHER` publishes to a topic."""
        binding = binding_of(_publishes(OTHER, topic))
        if live:
            answers: Any = self._admin.create_acls([binding], request_timeout=PATIENCE)
        else:
            filters = [filter_of(rule_of(binding))]
            answers = self._admin.delete_acls(filters, request_timeout=PATIENCE)
        await asyncio.to_thread(_done, answers.values())

    @asynccontextmanager
    async def effect(
        self, principal: str, topic: str, *, live: bool
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Observe when a principal may publish to a topic, or with `live` false may no longer."""
        looking = filter_of(_publishes(principal, topic))

        def seen() -> None:
            deadline = time.monotonic() + PATIENCE
            while bool(self._found(looking)) is not live:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic}: no effect at Kafka")
                time.sleep(LOOK_SECONDS)

        yield lambda: asyncio.to_thread(seen)

    def _tell(self) -> None:
        for start in range(0, len(self._users), AT_ONCE):
            info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
            upsertions = [
                UserScramCredentialUpsertion(user, info, secrets.token_bytes(32))
                for user in self._users[start : start + AT_ONCE]
            ]
            _done(
                self._admin.alter_user_scram_credentials(
                    list(upsertions), request_timeout=PATIENCE
                ).values()
            )
        _done(self._admin.create_acls(self._bindings, request_timeout=PATIENCE).values())

    def _look(self) -> None:
        users: Any = self._admin.describe_user_scram_credentials(request_timeout=PATIENCE)
        users.result()
        self._acls()

    def _acls(self) -> list[AclBinding]:
        return self._found(EVERYTHING)

    def _found(self, looking: Any) -> list[AclBinding]:  # noqa: ANN401 - the library's filters
        found: list[AclBinding] = self._admin.describe_acls(
            looking, request_timeout=PATIENCE
        ).result()
        return found


def _publishes(principal: str, topic: str) -> Rule:
    return Rule(principal, "TOPIC", "LITERAL", topic, "WRITE", host="*")


def _done(futures: Collection[Any]) -> None:
    """Wait for all futures; raises the error of one that failed."""
    wait(futures)
    for future in futures:
        future.result()
