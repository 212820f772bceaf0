"""What a handler is given: an object as it is now, or that it is gone."""

from dataclasses import dataclass, field

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest


@dataclass(frozen=True, slots=True)
class Change:
    """An object of a watch class; `manifest` is None if it is gone.

    `uptime` is when it was observed, in seconds on the process's monotonic clock: facts keep since
    when each value is known.
    """

    kind: str
    ref: Ref
    manifest: Manifest | None = field(repr=False)
    uptime: float
