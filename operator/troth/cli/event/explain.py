"""`troth event explain`: each check of a message with its verdict, and what it found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from troth.cli.checks import Check, Outcome
from troth.cli.event.certificate import CertificateFacts, certificate_facts
from troth.cli.event.remedies import sentence
from troth.cli.status.track import length
from troth.edge.events.attributes import REDRIVE, parse_time
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.opening import Explanation
from troth.edge.events.redrive import Redrive, parse, read
from troth.edge.events.rights import Rights, data_schema
from troth.edge.identity.snapshot import Snapshot
from troth.resources.schema.scalars import format_time


@dataclass(frozen=True, slots=True)
class Case:
    """A message, the identity that opens it, and the time at which it does.

    `rights` is None if the identity has no grant by the policy. `now` is in seconds since the
    epoch.
    """

    message: Message
    snapshot: Snapshot
    policy: str
    rights: Rights | None
    now: float

    @property
    def certificate(self) -> CertificateFacts | None:
        """Facts about the certificate that the message carries."""
        text = self.message.attributes.get("trothchain")
        return certificate_facts(text, self.snapshot.event_bundles)

    @property
    def time(self) -> float | None:
        """The time that the message says, None if it says none."""
        return parse_time(self.message.attributes.get("time", ""))

    @property
    def redrive(self) -> Redrive | None:
        """The redrive that the message carries, not verified; None if there is none to read."""
        text = self.message.attributes.get(REDRIVE)
        try:
            return None if text is None else parse(read(text))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The results of all checks; `event` is None unless the message passed all.

    `codes` are the reasons for the rejection.
    """

    case: Case
    checks: tuple[Check, ...]
    codes: tuple[str, ...]
    event: Event | None


def judge(case: Case, explanation: Explanation) -> Judgement:
    """Return the verdicts as checks, with those that were not reached."""
    codes = tuple(
        each.rejection.reason.value for each in explanation.verdicts if each.rejection is not None
    )
    return Judgement(case, tuple(_checks(case, explanation)), codes, explanation.event)


def _checks(case: Case, explanation: Explanation) -> Iterator[Check]:
    reached = {each.check: each.rejection for each in explanation.verdicts}
    for name, confirmed in PASSED.items():
        if name not in reached:
            yield Check(name, Outcome.NOT_RUN)
            continue
        rejection = reached[name]
        if rejection is None:
            yield Check(name, Outcome.PASSED, confirmed(case))
        else:
            yield Check(name, Outcome.FAILED, sentence(rejection), rejection.reason.value)


def moment(seconds: float) -> datetime:
    """Return a time that is given in seconds since the epoch."""
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def age(then: float, now: float) -> str:
    """Return how far a time is from now: `3m ago`, `in 3m`."""
    span = length(timedelta(seconds=abs(now - then)))
    return f"{span} ago" if then <= now else f"in {span}"


def _attribute(case: Case, name: str) -> str:
    return case.message.attributes.get(name, "none")


def _grant(case: Case) -> str:
    assert case.rights is not None
    group = case.rights.granted.group
    by = f", group {group}" if group else ""
    return f"{case.snapshot.spiffe_id} consumes by {case.policy}{by}"


def _redrive(case: Case) -> str:
    redrive = case.redrive
    if redrive is None:
        return "not needed: this is the first delivery"
    approved = f", approved by {redrive.approved_by}" if redrive.approved_by else ""
    return (
        f"number {redrive.count}, by the review {redrive.review}, requested by "
        f"{redrive.requested_by}{approved}; first in {redrive.origin_topic}"
    )


def _form(case: Case) -> str:
    size = len(case.message.data or b"")
    return f"a CloudEvent with {len(case.message.attributes)} attributes and {size} bytes of data"


def _certificate(case: Case) -> str:
    facts = case.certificate
    if facts is None:
        return ""
    return (
        f"issued by {facts.issuer} of {facts.trust_domain}, and valid at the time of the event "
        f"({format_time(facts.not_before)} to {format_time(facts.not_after)})"
    )


def _time(case: Case) -> str:
    then, stored = case.time, case.message.stored_at
    assert then is not None
    assert case.rights is not None
    most = length(timedelta(seconds=case.rights.granted.context.max_age))
    said = f"{age(then, case.now)}, at most {most} are allowed"
    if case.redrive is not None:
        stored, said = case.redrive.stored_at, f"{age(then, case.now)}, and delivered again"
    if stored is None:
        return f"{said}; the broker's time is not known"
    return f"{said}; the broker stored it {stored - then:+.1f} s from its time"


def _context(case: Case) -> str:
    assert case.rights is not None
    required = sorted(case.rights.granted.context.require)
    return f"has {', '.join(required)}, which the policy requires"


def _transaction(case: Case) -> str:
    assert case.rights is not None
    if case.rights.granted.context.evidence == "Producer":
        return "not needed: the producer answers for subject, tenant and request ID"
    return "valid at the time of the event, for its subject, tenant and request ID"


def _tenant(case: Case) -> str:
    assert case.rights is not None
    if case.rights.granted.tenants is None:
        return "this consumer accepts every tenant"
    return f"this consumer accepts {_attribute(case, 'trothtenant')}"


def _schema(case: Case) -> str:
    assert case.rights is not None
    granted = case.rights.granted
    for schema in granted.schemas:
        if data_schema(granted.policy, schema) == case.message.attributes.get("dataschema"):
            current = "current" if schema is granted.schemas[0] else "previous"
            return f"satisfies the {current} {schema.type}, SHA-256 {schema.digest}"
    return "the policy has no schema"


PASSED: Mapping[str, Callable[[Case], str]] = MappingProxyType(
    {
        "grant": _grant,
        "redrive": _redrive,
        "form": _form,
        "seal": lambda _: "attributes and data are those that were sealed",
        "certificate": _certificate,
        "signature": lambda case: f"by the key of {_attribute(case, 'source')}",
        "producer": lambda case: f"{_attribute(case, 'source')} may publish by the policy",
        "policy": lambda case: (
            f"{_attribute(case, 'trothpolicy')} at {_attribute(case, 'trothbroker')}"
        ),
        "environment": lambda case: _attribute(case, "trothenvironment"),
        "topic": lambda case: case.message.topic,
        "time": _time,
        "context": _context,
        "transaction": _transaction,
        "tenant": _tenant,
        "schema": _schema,
    }
)
"""All checks in their order, and what each has verified if it passed."""
