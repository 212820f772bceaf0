"""An object that Troth writes: its name, and what is known of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from troth.resources.references import Ref
from troth.world.facts.objects import Fact, Fault

F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class OwnedObject(Generic[F]):
    """Kind and name of an object that Troth writes, and what has this name.

    `fact` is the object of Troth there, with any owner, None if there is none. `seen` is when a
    foreign object was last found there. `write_fault` is why Troth cannot keep the object as
    declared, None if it can.
    """

    kind: str
    ref: Ref
    fact: F | None
    seen: datetime | None
    write_fault: Fault | None
