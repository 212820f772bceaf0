"""Findings and traffic in the statuses of Troth's resources.

Both are written together by server-side apply with the field manager `troth-auditor`, which owns
nothing else of a status. So the operator and the auditor never undo each other's writes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic_core import PydanticCustomError

from troth.audit.evaluation import severity_of
from troth.audit.finding import Finding, Object
from troth.audit.reports import text
from troth.audit.reports.changes import Reported
from troth.audit.scene import Scene
from troth.resources.kinds import KINDS
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.reported import MOST_FINDINGS, FindingStatus, PeerTraffic
from troth.resources.schema.scalars import parse_moment
from troth.world.facts.objects import Manifest

IDENTITY = "ServiceIdentity"
REFRESH = timedelta(minutes=10)
"""Time after which counts of connections are written though no peer and no verdict changed."""

_KINDS = tuple(
    kind.name
    for kind in KINDS
    if "findings" in type(kind.model.model_fields["status"].get_default()).model_fields
)
"""Kinds whose status has findings."""

Peers = Mapping[Ref, tuple[PeerTraffic, ...]]


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """Members of a resource's status that the auditor applies."""

    object: Object
    uid: str
    members: Manifest = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        """The manifest to apply to the status subresource."""
        kind, ref = self.object
        metadata = {"name": ref.name, "uid": self.uid}
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        return {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "status": self.members,
        }


def status_writes(
    scene: Scene,
    findings: Iterable[Finding],
    first_seen: Mapping[str, datetime],
    traffic: Peers | None,
) -> list[StatusWrite]:
    """Return a write for each resource whose status differs from what was found.

    `findings` are in order, the worst first. `traffic` is None if nobody watches connections; what
    a status says of them then stays.
    """
    by_subject: dict[Object, list[Finding]] = defaultdict(list)
    for each in findings:
        by_subject[each.subject].append(each)
    writes = []
    for kind in _KINDS:
        for manifest in scene.objects(kind):
            place = Object(kind, Ref.of(manifest))
            stored = manifest.get("status") or {}
            before = {name: stored[name] for name in ("findings", "traffic") if stored.get(name)}
            after = _members(by_subject[place], first_seen)
            if kind == IDENTITY:
                after |= _traffic(before, traffic, place.ref, scene.now)
            if after != before:
                writes.append(StatusWrite(place, manifest["metadata"].get("uid", ""), after))
    return writes


def first_seen_in(scene: Scene) -> Reported:
    """Return since when the statuses of a scene report findings; no time in the future."""
    found: Reported = {}
    for kind in _KINDS:
        for manifest in scene.objects(kind):
            for each in (manifest.get("status") or {}).get("findings") or ():
                since = _time(each["since"])
                if since is not None and since <= scene.now:
                    found[Ref.of(manifest).namespace, each["id"]] = since
    return found


def _members(findings: Iterable[Finding], first_seen: Mapping[str, datetime]) -> Manifest:
    listed = [
        FindingStatus(
            id=each.id,
            rule=each.rule,
            severity=severity_of(each),
            message=text.plain(each.message),
            since=first_seen[each.id],
        )
        for each in list(findings)[:MOST_FINDINGS]
    ]
    return {"findings": [each.manifest() for each in listed]} if listed else {}


def _traffic(before: Manifest, traffic: Peers | None, identity: Ref, now: datetime) -> Manifest:
    """Return the member `traffic` for an identity, none if it has no peers.

    While no peer and no verdict changes, it is what the status has, until that is too old.
    """
    written = before.get("traffic") or []
    seen = written if traffic is None else [each.manifest() for each in traffic.get(identity, ())]
    if written and _verdicts(seen) == _verdicts(written):
        times = [_time(each["lastSeen"]) for each in written]
        newest = max((each for each in times if each is not None), default=None)
        if newest is not None and now - newest < REFRESH:
            seen = written
    return {"traffic": seen} if seen else {}


def _time(written: str) -> datetime | None:
    """Return a time as Troth writes it; None for another form, which somebody else has written."""
    try:
        return parse_moment(written)
    except PydanticCustomError:
        return None


def _verdicts(peers: Iterable[Manifest]) -> list[Manifest]:
    counts = {"connections", "firstSeen", "lastSeen"}
    return [{key: value for key, value in each.items() if key not in counts} for each in peers]
