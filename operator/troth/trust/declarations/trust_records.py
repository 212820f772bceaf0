"""Records of gateway-only trust: when Troth first accepted it, by the name of the identity.

A record is in Troth's own namespace and outlives its identity, so deleting both the identity and
its namespace does not begin the trust again. Earlier versions kept it beside the identity.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from troth.resources.references import Ref
from troth.trust.multimap import Multimap

UNREADABLE = datetime.min.replace(tzinfo=UTC)
"""Time of the first acceptance in a record that cannot be read: too long ago."""
RECORD_PREFIX, FORMER_SUFFIX = "troth-gateway-trust-", "-gateway-trust"
"""How the names of records in Troth's namespace begin, and those of former ones end."""
MOST_RECORDS = 256
"""Maximum number of records of one namespace, so that no namespace uses the room of others."""


def record_name(identity: Ref) -> str:
    """Return the name of the record in Troth's namespace. A namespace's name has no dot."""
    return f"{RECORD_PREFIX}{identity.namespace}.{identity.name}"


def former_record(identity: Ref) -> Ref:
    """Return the ConfigMap in which an earlier version recorded the trust."""
    return Ref(identity.namespace, identity.name + FORMER_SUFFIX)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Identity whose trust a ConfigMap records, and whether it is a former record."""

    identity: Ref
    former: bool


def recorded_by(config_map: Ref, own_namespace: str) -> Recorded | None:
    """Return whose trust a ConfigMap records by its name, None if it is no name of a record."""
    namespace, dot, name = config_map.name.removeprefix(RECORD_PREFIX).partition(".")
    if (
        config_map.namespace == own_namespace
        and config_map.name.startswith(RECORD_PREFIX)
        and namespace
        and dot
        and name
    ):
        return Recorded(Ref(namespace, name), former=False)
    identity = config_map.name.removesuffix(FORMER_SUFFIX)
    if identity in {config_map.name, ""}:
        return None
    return Recorded(Ref(config_map.namespace, identity), former=True)


class TrustRecords:
    """The known records. Those beside identities are called former records."""

    def __init__(self) -> None:
        self._kept: dict[Ref, datetime] = {}
        self._former: dict[Ref, datetime] = {}
        self._kept_in = Multimap[str, Ref]()

    def __iter__(self) -> Iterator[Ref]:
        """Yield every identity of which there is a record, whether it exists or not."""
        yield from {**self._kept, **self._former}

    def note(self, identity: Ref, since: datetime | None, *, former: bool) -> bool:
        """Set the time in a record, None if there is no such record; return whether it changed."""
        records = self._former if former else self._kept
        before = records.pop(identity, None)
        if since is not None:
            records[identity] = since
        if not former:
            change = self._kept_in.discard if since is None else self._kept_in.add
            change(identity.namespace, identity)
        return before != since

    def of(self, identity: Ref) -> datetime | None:
        """Return the earlier time of an identity's records, None if there are none.

        A former record that cannot be read counts only if it is the only one.
        """
        kept, former = self._kept.get(identity), self._former.get(identity)
        if kept is None or former in (None, UNREADABLE):
            return kept if kept is not None else former
        return min(kept, former)

    def kept(self, identity: Ref) -> datetime | None:
        """Return the time in the record in Troth's namespace, None if there is none."""
        return self._kept.get(identity)

    def has_former(self, identity: Ref) -> bool:
        """Return whether a record of an earlier version is beside the identity."""
        return identity in self._former

    def is_full(self, namespace: str) -> bool:
        """Return whether no other identity of a namespace can be recorded."""
        return len(self._kept_in.of(namespace)) >= MOST_RECORDS

    def has_room(self, identity: Ref) -> bool:
        """Return whether an identity is recorded in Troth's namespace, or can be."""
        return identity in self._kept or not self.is_full(identity.namespace)
