"""Exceptions that end: peers without an identity, and findings that somebody accepts."""

from collections.abc import Iterator
from datetime import datetime

from troth.cli.evaluation.finding import Severity
from troth.planning.identity.gateway_only import WARNING
from troth.planning.identity.unverified import unverified_verdict
from troth.resources.faults import FaultyManifests, Step
from troth.resources.findings.exception import EXCEPTION_LIMIT, FindingException
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.manifests import Manifest, parse_resource
from troth.resources.schema.scalars import format_time
from troth.resources.schema.sentences import nearest

_SEVERITIES = {
    "UnverifiedExpired": Severity.ERROR,
    "UnverifiedTooLong": Severity.ERROR,
    "UnverifiedEnding": Severity.WARNING,
}


Told = tuple[Severity, str, str, tuple[Step, ...]]
"""Severity, reason, message and field of a finding."""


def ending(identity: ServiceIdentity, now: datetime) -> Iterator[Told]:
    """Yield severity, reason, message and field of each peer whose end is near or past."""
    for position, accepted in enumerate(identity.spec.accepts):
        if accepted.unverified is None:
            continue
        verdict = unverified_verdict(accepted.unverified, now)
        if verdict.reason in _SEVERITIES:
            steps = ("spec", "accepts", position, "unverified")
            yield _SEVERITIES[verdict.reason], verdict.reason, verdict.message, steps


def without_effect(manifest: Manifest, now: datetime) -> Iterator[Told]:
    """Yield what is wrong with a FindingException besides its form, which has its own faults."""
    from troth.audit.registry import RULE_BY_ID  # noqa: PLC0415 - it imports every rule

    try:
        found = parse_resource(manifest)
    except FaultyManifests:
        return
    assert isinstance(found, FindingException)
    for position, rule in enumerate(found.spec.rules_):
        if rule not in RULE_BY_ID:
            meant = nearest(rule, RULE_BY_ID)
            hint = f"; did you mean {meant}?" if meant else "; see troth audit --list-rules"
            steps: tuple[Step, ...] = ("spec", "rules", position)
            yield Severity.WARNING, "UnknownRule", f"no rule has the ID {rule}{hint}", steps
    end, fault = format_time(found.spec.expires_at), found.fault(now)
    steps = ("spec", "expiresAt")
    if fault == "ExceptionExpired":
        message = f"the exception ended at {end}; delete it, or decide again and write a later time"
        yield Severity.ERROR, fault, message, steps
    elif fault is not None:
        message = (
            f"the exception has no effect, because {end} is more than {EXCEPTION_LIMIT.days} days "
            "ahead; write an earlier time"
        )
        yield Severity.ERROR, fault, message, steps
    elif found.spec.expires_at <= now + WARNING:
        message = f"the exception ends at {end}; fix what it excepts, or write a later time"
        yield Severity.WARNING, "ExceptionEnding", message, steps
