"""Where a `MessageBroker` stands: what Troth has there, and what it saw of others."""

from typing import Annotated

from pydantic import Field

from troth.resources.conditions import Conditions
from troth.resources.schema.model import Model


class MessageBrokerStatus(Model):
    """Where a broker stands."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    principals: Annotated[int, Field(ge=0)] | None = None
    """How many principals Troth has there."""
    foreign_grants: Annotated[int, Field(ge=0)] | None = None
    """How many of the broker's own rules are not Troth's: seen, reported, left alone."""
    braked_removals: Annotated[int, Field(ge=0)] | None = None
    """How many rules would be removed and wait for a person, because brake.maxRemovals are fewer.
    """
    missing_grants: Annotated[int, Field(ge=0)] | None = None
    """How many rules are declared and not there: yet, or because mode is not Enforce."""
    surplus_grants: Annotated[int, Field(ge=0)] | None = None
    """How many rules of Troth's are there and not declared any more."""
    conditions: Conditions = ()
    """Ready, Reachable, InSync, NetworkEnforced, Braked, Reconciling, Stalled."""
