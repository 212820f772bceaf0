"""Rotation of the credential with which Troth administers a broker.

The ledger records a new credential before the broker gets it, and the credential is tested before
it is written to the Secret. The write names the version of the Secret that was read, and changes
only the credential. If somebody changes the Secret at the same time, that change wins.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from troth.brokers.connecting import admin_place, connect
from troth.brokers.errors import AdminRefusedError, BrokerError
from troth.brokers.protocol import Batch, Credential, Driver
from troth.brokers.registry import dialect_of
from troth.cluster.errors import ApiError
from troth.planning.steps.brokers import AdminChange, ChangeAdminCredential
from troth.reconcile.brokers.connections import Connected, Connections, Reads, admin_data
from troth.reconcile.brokers.faults import NewAdminRefusedError, StalePlan
from troth.reconcile.events.notice import Notice
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Place
from troth.world.facts.broker import IssuedAdmin, Ledger
from troth.world.facts.objects import Manifest

CONFLICT, NOT_FOUND = 409, 404
PAUSES = (0.0, 0.2, 0.5, 1.0)
"""Seconds before each test of a new credential: a server may not know it yet."""


class Secrets(Reads, Protocol):
    """API server methods that the changes need."""

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Merge a patch and return the object."""


@dataclass(frozen=True, slots=True)
class AdminCredentials:
    """Carries out changes of admin credentials.

    `require` raises `LeaseLost` if this replica may not write, and `StalePlan` if the stored ledger
    differs from the known one. `keep` writes the ledger; `record_event` posts an Event.
    """

    secrets: Secrets
    connections: Connections
    ledger: Callable[[Ref], Ledger | None]
    require: Callable[[MessageBroker], Awaitable[None]]
    keep: Callable[[MessageBroker, Ledger], Awaitable[None]]
    record_event: Callable[[MessageBroker, Notice], Awaitable[None]]
    now: Callable[[], datetime]

    async def seen(self, broker: MessageBroker, step: ChangeAdminCredential) -> Connected:
        """Return a connection with the Secret's credential, after testing that it can administer.

        Raises `StalePlan` if the credential is not the planned one.
        """
        connected = await self.connections.renewed(broker)
        shown = connected.shown
        if (shown.place, shown.fingerprint) != (step.shown.place, step.shown.fingerprint):
            raise StalePlan
        await connected.adapter.observe()
        return connected

    async def take(
        self, broker: MessageBroker, step: ChangeAdminCredential, connected: Connected
    ) -> None:
        """Carry out a change; raises `BrokerError`, `ApiError` or `StalePlan`."""
        await self.require(broker)
        ledger = self.ledger(broker.ref)
        if ledger is None:
            raise StalePlan
        match step.change:
            case AdminChange.REPLACE:
                await self._replace(broker, step, ledger, connected)
            case AdminChange.RETIRE:
                await self._retire(broker, ledger, connected)
            case AdminChange.WITHDRAW:
                await self._withdraw(broker, step, ledger, connected)

    async def _replace(
        self,
        broker: MessageBroker,
        step: ChangeAdminCredential,
        ledger: Ledger,
        connected: Connected,
    ) -> None:
        where = broker.admin_secret
        secret = await self.secrets.get("Secret", where)
        data = admin_data(secret)
        if (ledger.admin is not None and ledger.admin.replaces) or step.shown.place is None:
            raise StalePlan
        rotation = dialect_of(broker.spec.type).admin(broker)
        if isinstance(rotation, str):
            raise StalePlan
        if admin_place(broker, data) != (step.shown.place, step.shown.fingerprint):
            raise StalePlan
        user, slot = step.shown.place
        if (user, slot.other) in (await connected.adapter.observe()).credentials:
            raise StalePlan  # a foreign credential; Troth observes the broker again
        new = rotation.issue(slot.other)
        made = IssuedAdmin((user, slot.other), new.fingerprint, self.now().replace(microsecond=0))
        await self.keep(broker, replace(ledger, admin=made))
        await self.require(broker)
        await _applied(connected.adapter, Batch((Credential(user, slot.other, new.material),)))
        await self._try(broker, {**data, **new.data}, connected.authorities)
        await self.require(broker)
        await self._write(where, secret, new.data)
        note = (
            f"Secret {where} has a new password of {user} that Troth generated; the previous "
            "password stays valid until the overlap ends"
        )
        await self.record_event(broker, Notice("AdminReplaced", note))

    async def _try(
        self, broker: MessageBroker, data: Mapping[str, bytes], authorities: str
    ) -> None:
        """Test that an admin credential can administer; raises `BrokerError` if it cannot."""
        adapter = connect(broker, data, authorities, self.connections.permit)
        try:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                try:
                    await adapter.observe()
                except AdminRefusedError as error:
                    refusal = error
                else:
                    return
            raise NewAdminRefusedError(f"the broker rejects the new admin credential: {refusal}")
        finally:
            await adapter.close()

    async def _write(self, where: Ref, secret: Manifest, data: Mapping[str, bytes]) -> None:
        """Write some of a Secret's data, if the Secret still has the version that was read."""
        metadata = secret["metadata"]
        patch = {
            "metadata": {part: metadata[part] for part in ("uid", "resourceVersion")},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        try:
            await self.secrets.merge_patch("Secret", where, patch)
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                raise StalePlan from None
            raise

    async def _retire(self, broker: MessageBroker, ledger: Ledger, connected: Connected) -> None:
        made = ledger.admin
        if made is None or not connected.shown.is_made(made):
            raise StalePlan
        await _revoked(connected.adapter, made.before)
        await self.keep(broker, replace(ledger, admin=replace(made, replaces=False)))

    async def _withdraw(
        self,
        broker: MessageBroker,
        step: ChangeAdminCredential,
        ledger: Ledger,
        connected: Connected,
    ) -> None:
        made = ledger.admin
        if made is None or connected.shown.is_made(made):
            raise StalePlan
        if connected.shown.place != made.place:
            await _revoked(connected.adapter, made.place)
        await self.keep(broker, replace(ledger, admin=None))
        if not (made.replaces and step.shown.place == made.before):
            note = (
                "the admin Secret holds a credential that Troth did not write; Troth uses it and "
                "has revoked the one that it had created"
            )
            await self.record_event(broker, Notice("AdminOvertaken", note))


async def _applied(adapter: Driver, batch: Batch) -> None:
    for failure in await adapter.apply(batch):
        raise BrokerError(f"the admin credential could not be changed: {failure.message}")


async def _revoked(adapter: Driver, place: Place) -> None:
    await _applied(adapter, Batch(revocations=(place,)))
