"""The name of an object that Troth writes, and what is known of it."""

from dataclasses import dataclass
from datetime import datetime

from troth.resources.references import Ref
from troth.world.facts.objects import Fact, Fault


@dataclass(frozen=True, slots=True)
class Place:
    """Name of an object that Troth writes, with what has this name.

    `seen` is when a foreign object was last found there. `write_fault` is why Troth cannot keep the
    object as declared, None if it can.
    """

    ref: Ref
    fact: Fact | None
    seen: datetime | None
    write_fault: Fault | None
