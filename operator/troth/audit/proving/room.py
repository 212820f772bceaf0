"""Chooses probes of a callee that has more than there is room for."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from troth.audit.proving.probe import Probe


def fitting(probes: Sequence[Probe], room: int, rank: Callable[[Probe], str]) -> list[Probe]:
    """Return at most `room` of a callee's probes, in their order.

    Those that must fail come before most of those of live edges, of which the first by `rank` stay.
    Each port keeps the first one, because a failure is proven only if a caller can connect.
    """
    if len(probes) <= room:
        return list(probes)
    controls = sorted((each for each in probes if each.is_control), key=rank)
    others = [each for each in probes if not each.is_control]
    ports = len({each.target for each in controls})
    reserved = max(0, min(len(others), room - ports, max(room // 2, room - len(controls))))
    chosen = {
        *_spread(controls, lambda each: each.target)[: room - reserved],
        *_spread(others, lambda each: each.name)[:reserved],
    }
    return [each for each in probes if each in chosen]


def _spread(probes: Iterable[Probe], group: Callable[[Probe], object]) -> list[Probe]:
    """Return probes so that the first of each group come first, then the second ones."""
    seen: Counter[object] = Counter()
    places = []
    for each in probes:
        places.append((seen[group(each)], each))
        seen[group(each)] += 1
    return [each for _, each in sorted(places, key=lambda place: place[0])]
