"""Connections to brokers, each reopened when one of its inputs changes.

The Secrets that a broker names belong to users. Troth reads them when it observes the broker, and
does not watch them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from troth.brokers.admin_secret import LONGEST
from troth.brokers.connecting import admin_place, connect
from troth.brokers.errors import AdminRefusedError
from troth.brokers.protocol import Driver, Permit
from troth.cluster.denials import denial
from troth.cluster.errors import ApiError
from troth.documents.secret_keys import ROOTS
from troth.reconcile.brokers.faults import SecretMissingError, missing
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.facts.broker import AdminInUse
from troth.world.facts.objects import Manifest
from troth.world.observation.broker_secrets import written_at
from troth.world.observation.secret_data import MOST_ENTRIES, SecretData

NOT_FOUND = 404


class Reads(Protocol):
    """API server reads that administering brokers needs."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""


@dataclass(frozen=True, slots=True)
class Connected:
    """An adapter, a digest of its inputs, and the roots that verify the broker's servers.

    `shown` is the credential with which the adapter administers.
    """

    adapter: Driver
    made_from: bytes = field(repr=False)
    authorities: str = field(repr=False)
    shown: AdminInUse


class Connections:
    """One connection to each broker."""

    def __init__(self, reads: Reads, permit: Permit) -> None:
        self._reads = reads
        self.permit = permit
        self._connected: dict[Ref, Connected] = {}

    def known(self, broker: Ref) -> Connected | None:
        """Return the open connection, None if there is none."""
        return self._connected.get(broker)

    async def renewed(self, broker: MessageBroker) -> Connected:
        """Return the connection, reopened if its admin Secret or another input has changed.

        A broker that is being deleted keeps its connection without its Secrets: when a namespace is
        deleted, they often go first, or the Role by which Troth reads them. Raises `BrokerError`,
        or `ApiError` if a Secret cannot be read.
        """
        described, known = broker.spec.described, self._connected.get(broker.ref)
        try:
            secret = await self._secret(broker.admin_secret)
            authorities = await self._authorities(broker)
        except (SecretMissingError, ApiError) as error:
            gone = not isinstance(error, ApiError) or denial(error)
            if gone and known is not None and broker.metadata.deletion_timestamp is not None:
                return known
            raise
        admin = admin_data(secret)
        made_from = _digest(described.model_dump_json(), admin, authorities)
        if known is not None and known.made_from == made_from:
            return known
        await self.end(broker.ref)
        adapter = connect(broker, admin, authorities, self.permit)
        place, fingerprint = admin_place(broker, admin)
        shown = AdminInUse(place, fingerprint, written_at(secret))
        connected = self._connected[broker.ref] = Connected(adapter, made_from, authorities, shown)
        return connected

    async def end(self, broker: Ref) -> None:
        """Close the connection to a broker."""
        connected = self._connected.pop(broker, None)
        if connected is not None:
            await connected.adapter.close()

    async def close(self) -> None:
        """Close all connections."""
        for broker in list(self._connected):
            await self.end(broker)

    async def _authorities(self, broker: MessageBroker) -> str:
        tls = broker.spec.described.tls
        if tls is None or tls.ca_secret_ref is None:
            return ""
        secret = Ref(broker.ref.namespace, tls.ca_secret_ref.name)
        roots = SecretData(await self._secret(secret)).get(ROOTS)
        if roots is None:
            raise missing(secret, ROOTS)
        return roots.decode("utf-8", "replace")

    async def _secret(self, secret: Ref) -> Manifest:
        try:
            return await self._reads.get("Secret", secret)
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise missing(secret) from None
            raise


def admin_data(secret: Manifest) -> Mapping[str, bytes]:
    """Return the data of an admin Secret; raises `AdminRefusedError` if it has too many entries.

    A value that is too large is truncated, and `connect` rejects it.
    """
    data = SecretData(secret)
    if data.has_too_many:
        raise AdminRefusedError(
            f"admin Secret {Ref.of(secret)} has {len(data)} entries; keep at most {MOST_ENTRIES} "
            "in it"
        )
    return {name: data.value(name, LONGEST) for name in data}


def _digest(described: str, admin: Mapping[str, bytes], authorities: str) -> bytes:
    """Return a digest of everything that the connection depends on. It reveals no secret."""
    whole = hashlib.sha256()
    parts = [described.encode(), authorities.encode()]
    for name in sorted(admin):
        parts += [name.encode(), admin[name]]
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.digest()
