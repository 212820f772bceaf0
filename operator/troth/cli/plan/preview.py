"""What applying manifests changes: a rehearsal compared with the state before it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.cli.evaluation.basis import Basis
from troth.cli.evaluation.evaluate import evaluate
from troth.cli.evaluation.finding import Report, Severity
from troth.cli.evaluation.rehearse import rehearse
from troth.cli.plan.broker_preview import AtBrokers, at_brokers
from troth.cli.plan.differences import Difference, differences
from troth.resources.faults import FaultyManifests
from troth.resources.identity.status import EdgeState
from troth.trust.edges.evaluation import Edge

_CHANGES = {"+": "add", "~": "change", "-": "remove"}


@dataclass(frozen=True, slots=True)
class Preview:
    """What applying manifests changes."""

    differences: tuple[Difference, ...]
    opened: tuple[str, ...]
    """The edges that become live, as text."""
    closed: tuple[str, ...]
    at_brokers: AtBrokers
    report: Report
    hidden: tuple[str, ...]
    """Kinds that the user may not list."""

    @property
    def changes_something(self) -> bool:
        """Whether anything changes or needs attention; notices alone do not count."""
        changed = bool(self.differences) or self.at_brokers.any or bool(self.at_brokers.attention)
        return changed or any(each.severity is not Severity.NOTICE for each in self.report.findings)

    def count(self, sign: str) -> int:
        """Return the number of objects that are added (+), changed (~) or removed (-)."""
        return sum(each.sign == sign for each in self.differences)

    def document(self) -> dict[str, Any]:
        """Return the preview as JSON."""
        brokers = self.at_brokers
        return {
            "changes": [
                {
                    "change": _CHANGES[each.sign],
                    "kind": each.kind,
                    **({"namespace": each.ref.namespace} if each.ref.namespace else {}),
                    "name": each.ref.name,
                    "diff": list(each.lines),
                }
                for each in self.differences
            ],
            "edges": {"open": list(self.opened), "close": list(self.closed)},
            "grants": {"add": list(brokers.begin), "revoke": list(brokers.end)},
            "credentials": [] if "Secret" in self.hidden else list(brokers.credentials),
            "brakes": list(brokers.attention),
            "omittedKinds": list(self.hidden),
            **self.report.document(),
        }


async def preview(basis: Basis, now: datetime) -> Preview:
    """Return what applying manifests changes.

    Raises `FaultyManifests` if a manifest changes an immutable field.
    """
    rehearsed = await rehearse(basis, now)
    if rehearsed.update_faults:
        raise FaultyManifests(list(rehearsed.update_faults))
    was, will_be = _live(rehearsed.edges_before), _live(rehearsed.edges)
    return Preview(
        differences=tuple(
            each
            for each in differences(rehearsed.start, rehearsed.objects)
            if each.kind not in basis.hidden
        ),
        opened=tuple(sorted(will_be - was)),
        closed=tuple(sorted(was - will_be)),
        at_brokers=at_brokers(rehearsed.before, rehearsed.after),
        report=evaluate(rehearsed),
        hidden=tuple(sorted(basis.hidden)),
    )


def _live(edges: Iterable[Edge]) -> set[str]:
    return {
        f"{edge.caller} → {edge.callee}:{edge.port}"
        for edge in edges
        if edge.state is EdgeState.LIVE
    }
