"""Certificates of cert-manager that have expired or are not renewed in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from troth.audit.commands import command
from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import MANAGED_BY

WEEK = timedelta(days=7)
SHARE = 10
"""A certificate is near its end in the last tenth of its lifetime."""
DEFAULT_LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class _Times:
    """Times in the status of a Certificate."""

    not_after: datetime
    renewal: datetime | None
    lifetime: timedelta

    def near_end(self, now: datetime) -> bool:
        """Return whether the renewal is overdue and little time is left.

        A week is little only for lifetimes that cert-manager renews more than a week before the
        end, which by default is after two thirds.
        """
        if self.renewal is not None and now < self.renewal:
            return False
        left = self.not_after - now
        return left <= self.lifetime / SHARE or (left <= WEEK and self.lifetime >= 3 * WEEK)


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for certificate in scene.objects("Certificate", namespace):
        status = certificate.get("status")
        times = _times(status) if isinstance(status, dict) else None
        labels = certificate["metadata"].get("labels") or {}
        if times is None or labels.get(MANAGED_BY) == "troth":
            continue
        expired = times.not_after <= scene.now
        if not expired and not times.near_end(scene.now):
            continue
        subject = Object("Certificate", Ref.of(certificate))
        end = format_time(times.not_after)
        evidence = [
            Evidence(subject, "status.notAfter", f"{'expired' if expired else 'expires'} at {end}")
        ]
        if times.renewal is not None:
            due = f"renewal was due at {format_time(times.renewal)}"
            evidence.append(Evidence(subject, "status.renewalTime", due))
        message = (
            "it has expired, so verifiers reject it; see in its conditions why cert-manager does "
            "not renew it"
            if expired
            else "it is near its end and not renewed; see in its conditions why cert-manager does "
            "not renew it"
        )
        severity = Severity.HIGH if expired else None
        yield Finding(RULE.id, subject, message, tuple(evidence), severity=severity)


def _times(status: dict[str, Any]) -> _Times | None:
    not_after, not_before = _time(status.get("notAfter")), _time(status.get("notBefore"))
    if not_after is None:
        return None
    lifetime = not_after - not_before if not_before is not None else DEFAULT_LIFETIME
    return _Times(not_after, _time(status.get("renewalTime")), lifetime)


def _time(value: object) -> datetime | None:
    """Return a time of a status, None if it is missing or malformed."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _fix(_: Scene, finding: Finding) -> Fix:
    namespace, name = finding.subject.ref
    place = (f"--namespace={namespace}", "--", name)
    status, renew = (
        command("cmctl", "status", "certificate", *place),
        command("cmctl", "renew", *place),
    )
    return Fix(
        steps=(
            f"Read why the renewal fails with {status}, and mend the issuer.",
            f"Renew it with {renew}.",
            (
                "If the certificate is for calls between workloads of the cluster, declare a "
                "ServiceIdentity instead; Troth renews its certificate."
            ),
        )
    )


RULE = Rule(
    id="TR704",
    name="CertificateExpires",
    title="A certificate has expired or is near its end and not renewed.",
    severity=Severity.MEDIUM,
    reads=frozenset({"Certificate"}),
    find=_find,
    fix=_fix,
)
