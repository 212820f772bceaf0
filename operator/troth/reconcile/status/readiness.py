"""Reasons outside its plan why a resource is not Ready."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from troth.planning import faults
from troth.planning.plan import Plan
from troth.planning.reasons.condition import INTERNAL_ERROR
from troth.planning.verdicts import READY, false
from troth.reconcile.drift.backoff import Repairs
from troth.reconcile.status.rejected_writes import RejectedWrites
from troth.resources.conditions import Truth, Verdict
from troth.world.facts.objects import FIGHTING
from troth.world.keys import Key, Keys, view_key
from troth.world.origin import log_fields

log = structlog.get_logger()


class Faults:
    """Internal errors, by the key whose last reconcile raised them."""

    def __init__(self) -> None:
        self._sentences: dict[Key, str] = {}

    def note(self, key: Key, errors: Sequence[Exception]) -> bool:
        """Log and record the errors of a key's reconcile; return whether its sentence changed."""
        for error in errors:
            log.error("reconcile failed", key=str(key), **log_fields(error))
        known = self._sentences.pop(key, "")
        if errors:
            self._sentences[key] = faults.sentence(errors[0])
        return known != self.of(key)

    @property
    def keys(self) -> Keys:
        """Resources whose last reconcile raised an error."""
        return set(self._sentences)

    def of(self, key: Key) -> str:
        """Return the sentence about the last reconcile's first error, or "" if there was none."""
        return self._sentences.get(key, "")

    def count(self) -> Counter[str]:
        """Return the number of resources of each kind that cannot be reconciled."""
        return Counter(key.kind for key in self._sentences)


def with_refusals(
    plan: Plan, refusals: RejectedWrites, repairs: Repairs, found: Faults, now: datetime
) -> Plan:
    """Return the plan with a status that is Ready only if all of its objects stay as declared."""
    status, keys = plan.status, [plan.key]
    if status is None or not _is_ready(status):
        return plan
    if plan.key.kind == "TrustDomain":
        keys.append(view_key(plan.key.ref.name))
    reasons = (
        *(("WriteRefused", refusals.of(key)) for key in keys),
        *((FIGHTING, repairs.of(key)) for key in keys),
        *((INTERNAL_ERROR, found.of(key)) for key in keys[1:]),
    )
    reason, sentence = next((each for each in reasons if each[1]), ("", ""))
    if not sentence:
        return plan
    ready: Verdict = false(READY, reason, sentence)
    before, generation = plan.previous_status or {}, status.get("observedGeneration") or 0
    return replace(plan, status=faults.not_ready(status, before, generation, ready, now))


def _is_ready(status: Any) -> bool:  # noqa: ANN401 - as the API server returns it
    return any(
        (each["type"], each["status"]) == (READY, Truth.TRUE)
        for each in status.get("conditions") or ()
    )
