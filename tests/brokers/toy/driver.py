"""Driver of the toy broker, whose server runs in this process."""

from collections.abc import Collection

from tests.brokers.toy.server import ADMIN, SERVERS, May, Permission, ToyServer
from troth.brokers.admin_secret import AdminSecret
from troth.brokers.clients import Clients, bounded, client_of
from troth.brokers.errors import AdminRefusedError
from troth.brokers.exposure import Connection, connected
from troth.brokers.protocol import Batch, Failure, Login, Permit
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import Exposure
from troth.trust.grants import Action, Observed, Rule, Slot

SLOTS = list(Slot)


def connect(broker: MessageBroker, admin: AdminSecret, roots: str, permit: Permit) -> "Toy":
    given = admin.line("username"), admin.line("password")
    return Toy(SERVERS[broker.spec.servers[0]], given, permit)


class Toy:
    def __init__(self, server: ToyServer, admin: tuple[str, str], permit: Permit) -> None:
        self._server = server
        self._admin = admin
        self._permit = permit

    async def observe(self) -> Observed:
        self._require()
        return Observed(
            frozenset((user, SLOTS[number]) for user, number in self._server.passwords),
            frozenset(map(_rule, self._server.permissions)),
        )

    async def clients(self, groups: Collection[str]) -> Clients:  # noqa: ARG002 - it has users
        self._require()
        return Clients(
            bounded(
                client_of(each.name, principal=each.user, actions=(Action.CONSUME,))
                for each in self._server.connected
            )
        )

    async def exposure(self, groups: Collection[str]) -> Exposure:  # noqa: ARG002 - it has users
        self._require()
        seen = connected(Connection(each.user, "", each.name) for each in self._server.connected)
        return Exposure(clients=seen.clients, hidden=seen.hidden)

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        self._require()
        self._permit()
        for each in batch.credentials:
            self._server.passwords[each.principal, SLOTS.index(each.slot)] = each.material
        added, removed = map(_permission, batch.additions), map(_permission, batch.removals)
        self._server.change(set(added), set(removed))
        for principal, slot in batch.revocations:
            self._server.passwords.pop((principal, SLOTS.index(slot)), None)
        return ()

    async def disconnect(self, principals: Collection[str]) -> None:
        """Do nothing: the toy broker keeps no connection open."""

    async def admits(self, login: Login) -> bool:
        return self._server.lets_in(login.principal, login.secret)

    async def close(self) -> None: ...

    def _require(self) -> None:
        if self._admin != (ADMIN, self._server.admin_password):
            raise AdminRefusedError("the toy rejects the password of its keeper")


def _rule(permission: Permission) -> Rule:
    kind = "GROUP" if permission.may is May.JOIN else "TOPIC"
    pattern = "PREFIX" if permission.prefix else "NAME"
    return Rule(permission.user, kind, pattern, permission.name, permission.may)


def _permission(rule: Rule) -> Permission:
    return Permission(rule.principal, May(rule.operation), rule.name, rule.pattern == "PREFIX")
