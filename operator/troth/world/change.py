"""Changes of watched objects, the input of the world's handlers."""

from dataclasses import dataclass, field

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest


@dataclass(frozen=True, slots=True)
class Change:
    """Current state of an object of a watch class; `manifest` is None if it was deleted.

    `uptime` is when the state was observed, in seconds on the process's monotonic clock. Facts
    record from it when each value was first observed.
    """

    kind: str
    ref: Ref
    manifest: Manifest | None = field(repr=False)
    uptime: float
