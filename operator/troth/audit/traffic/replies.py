"""Flows that are the replies of others: the kernel saw a reply first."""

from collections.abc import Callable, Iterable, Iterator

from troth.audit.facts.traffic import Flow

_FIRST_EPHEMERAL = 32768
"""First port that Linux gives to clients by default."""


def without_replies(flows: Iterable[Flow], declares: Callable[[Flow], bool]) -> Iterator[Flow]:
    """Yield the flows that are not the replies of another one.

    A reply goes to an ephemeral port that nobody declares, from an end that its destination
    calls. `declares` says whether the destination of a flow declares its port.
    """
    every = tuple(flows)
    declared = {(each.source, each.destination) for each in every if declares(each)}
    for flow in every:
        calls = (flow.destination, flow.source) in declared
        if not calls or flow.port < _FIRST_EPHEMERAL or declares(flow):
            yield flow
