"""Facts about the clients of a broker: those that it showed lately, and why it shows others not.

A client reconnects, and a group rebalances, so one observation may miss it. Each client therefore
counts for a while after it was last seen.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from troth.brokers.clients import Client, Clients
from troth.world.facts.objects import Fault

COUNTS_FOR = 600.0
"""Seconds for which a client counts after it was last seen."""


@dataclass(frozen=True, slots=True)
class SeenClients:
    """Clients of a broker, with the time at which each was last seen.

    `hidden` are the consumer groups that the broker does not show, with the reasons. `fault` is why
    it showed no clients at the last observation. `since` is the time of the first observation.
    Times are seconds of this process's uptime.
    """

    seen: Mapping[Client, float] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    since: float = 0.0
    _by_owner: Mapping[tuple[str, str], tuple[Client, ...]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        found: dict[tuple[str, str], list[Client]] = defaultdict(list)
        for each in self.seen:
            found[each.principal, each.group].append(each)
        by_owner = {owner: tuple(clients) for owner, clients in found.items()}
        object.__setattr__(self, "_by_owner", by_owner)

    def of(self, principal: str, group: str = "") -> tuple[Client, ...]:
        """Return the clients of a principal, and those of a group if it is not empty."""
        own = self._by_owner.get((principal, ""), ())
        return own + self._by_owner.get(("", group), ()) if group else own


def seen_clients(
    found: Clients | Fault | None, before: SeenClients | None, uptime: float
) -> SeenClients | None:
    """Return the clients of a broker after an observation, None if nobody asked for them.

    After a fault those of before stay, because it is unknown whether they are still connected.
    """
    if found is None:
        return None
    known = before if before is not None else SeenClients(since=uptime)
    if isinstance(found, Fault):
        return replace(known, fault=found)
    lately = {each: at for each, at in known.seen.items() if uptime - at < COUNTS_FOR}
    now = dict.fromkeys(found.seen, uptime)
    return SeenClients({**lately, **now}, found.hidden, since=known.since)
