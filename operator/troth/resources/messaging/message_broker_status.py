"""Status of `MessageBroker`: Troth's rules at the broker, and foreign ones."""

from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.messaging.observed_broker import ObservedBroker
from troth.resources.reported import Findings
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Observed

ALL_NAMESPACES = "*"
LISTED_NAMESPACES = 256
LISTED_CLIENTS = 256


def every_client(namespace: str) -> str:
    """Return the entry of `clientsWithoutRoom` for several identities of a namespace."""
    return f"{namespace}/*"


class MessageBrokerStatus(Observed):
    """Observed state of a broker."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    principals: Annotated[int, Field(ge=0)] | None = None
    """Number of Troth's principals at the broker."""
    foreign_grants: Annotated[int, Field(ge=0)] | None = None
    """Number of foreign rules at the broker. Troth reports them and does not change them."""
    braked_removals: Annotated[int, Field(ge=0)] | None = None
    """Number of rules whose removal waits for a person, because it exceeds brake.maxRemovals."""
    missing_grants: Annotated[int, Field(ge=0)] | None = None
    """Number of declared rules that the broker does not have yet, or lacks because mode is not
    Enforce."""
    surplus_grants: Annotated[int, Field(ge=0)] | None = None
    """Number of Troth's rules at the broker that are no longer declared."""
    namespaces_without_room: (
        Annotated[
            tuple[Annotated[str, StringConstraints(max_length=63)], ...],
            Field(max_length=LISTED_NAMESPACES, json_schema_extra=ATOMIC),
        ]
        | None
    ) = None
    """Namespaces whose new grants and first credentials wait, because the ledger has no room for
    them; the first 256. `*` stands for all. Absent if there is room for everything."""
    rotations_without_room: Annotated[int, Field(ge=0)] | None = None
    """Number of principals whose next credential waits, because the ledger has no room for it.
    Absent if there is room for all."""
    clients_without_room: (
        Annotated[
            tuple[Annotated[str, StringConstraints(max_length=317)], ...],
            Field(max_length=LISTED_CLIENTS, json_schema_extra=ATOMIC),
        ]
        | None
    ) = None
    """Identities, as namespace/name, that have a grant and cannot connect, because the broker's
    NetworkPolicy has no room for them; at most 256 entries. `namespace/*` stands for several
    identities there. Absent if there is room for all."""
    observed: ObservedBroker | None = None
    """What the broker shows of its security: listeners, super users, clients, and rights of foreign
    principals."""
    findings: Findings = ()
    """Findings of the auditor about the resource, at most the first 32."""
    conditions: Conditions = ()
    """Conditions of the broker: Ready, Reachable, InSync, NetworkEnforced, Braked, Reconciling and
    Stalled. AdminRotates if a CredentialRotation is about the admin credential."""
