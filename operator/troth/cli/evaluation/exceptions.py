"""Peers without an identity that the network admits until a date."""

from collections.abc import Iterator
from datetime import datetime

from troth.cli.evaluation.finding import Severity
from troth.planning.identity.exceptions import unverified_verdict
from troth.resources.faults import Step
from troth.resources.identity.spec import ServiceIdentity

_SEVERITIES = {
    "UnverifiedExpired": Severity.ERROR,
    "UnverifiedTooLong": Severity.ERROR,
    "UnverifiedEnding": Severity.WARNING,
}


def ending(
    identity: ServiceIdentity, now: datetime
) -> Iterator[tuple[Severity, str, str, tuple[Step, ...]]]:
    """Yield severity, reason, message and field of each peer whose end is near or past."""
    for position, accepted in enumerate(identity.spec.accepts):
        if accepted.unverified is None:
            continue
        verdict = unverified_verdict(accepted.unverified, now)
        if verdict.reason in _SEVERITIES:
            steps = ("spec", "accepts", position, "unverified")
            yield _SEVERITIES[verdict.reason], verdict.reason, verdict.message, steps
