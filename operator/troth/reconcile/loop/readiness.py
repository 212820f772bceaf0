"""What keeps a resource from being Ready though its plan does not know of it."""

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from troth.planning import faults
from troth.planning.plan import Plan
from troth.planning.status import READY, false
from troth.reconcile.apply.refusals import Refusals
from troth.resources.conditions import Truth, Verdict
from troth.world.keys import Key, view_key

FRAMES = 4
"""How many places of a traceback are logged: those nearest to the fault."""

log = structlog.get_logger()


class Faults:
    """Exceptions of Troth's own, by the resource whose last visit raised them."""

    def __init__(self) -> None:
        self._sentences: dict[Key, str] = {}

    def note(self, key: Key, errors: Sequence[Exception]) -> bool:
        """Log and note what the last visit of a key raised; say whether that is news."""
        for error in errors:
            log.error("reconcile failed", key=str(key), **log_fields(error))
        known = self._sentences.pop(key, "")
        if errors:
            self._sentences[key] = faults.sentence(errors[0])
        return known != self.of(key)

    def of(self, key: Key) -> str:
        """Return the sentence of the last visit that raised, empty if none did."""
        return self._sentences.get(key, "")

    def count(self) -> Counter[str]:
        """Return how many resources of each kind cannot be reconciled."""
        return Counter(key.kind for key in self._sentences)


def log_fields(error: BaseException) -> dict[str, Any]:
    """Return what the log has of an exception: its type and where it was raised.

    Its text is left out, for it may quote what stands in a Secret.
    """
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def with_refusals(plan: Plan, refusals: Refusals, found: Faults, now: datetime) -> Plan:
    """Return a plan whose status is Ready only if all that it asks for is carried out."""
    status, reason = plan.status, "WriteRefused"
    if status is None or not _is_ready(status):
        return plan
    sentence = refusals.of(plan.key)
    if plan.key.kind == "TrustDomain":
        view = view_key(plan.key.ref.name)
        sentence = sentence or refusals.of(view)
        if not sentence and (sentence := found.of(view)):
            reason = faults.REASON
    if not sentence:
        return plan
    ready: Verdict = false(READY, reason, sentence)
    before, generation = plan.previous_status or {}, status.get("observedGeneration") or 0
    return replace(plan, status=faults.not_ready(status, before, generation, ready, now))


def _is_ready(status: Any) -> bool:  # noqa: ANN401 - as the API server has it
    return any(
        (each["type"], each["status"]) == (READY, Truth.TRUE)
        for each in status.get("conditions") or ()
    )
