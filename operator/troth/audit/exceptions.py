"""Findings that a FindingException accepts until a date."""

from collections.abc import Iterable, Iterator
from operator import itemgetter

from troth.audit.finding import Finding
from troth.audit.scene import Scene
from troth.resources.faults import FaultyManifests
from troth.resources.findings.exception import FINDING_EXCEPTION, FindingException
from troth.resources.manifests import parse_resource
from troth.resources.references import Ref

Excepted = tuple[Finding, str]
"""Finding, and the exception that accepts it as `namespace/name`."""

_Place = tuple[str, str, str, str]
"""Rule, namespace, kind and name; empty kind and name stand for all objects of the namespace."""


def exceptions(scene: Scene, namespace: str | None = None) -> Iterator[FindingException]:
    """Yield the exceptions of a namespace, or of all, by namespace and name.

    One that this version cannot read is left out, so it excepts nothing.
    """
    for manifest in scene.objects(FINDING_EXCEPTION, namespace):
        try:
            found = parse_resource(manifest)
        except FaultyManifests:
            continue
        if isinstance(found, FindingException):
            yield found


def unreadable(scene: Scene) -> Iterator[Ref]:
    """Yield the exceptions that this version cannot read."""
    readable = {each.ref for each in exceptions(scene)}
    for manifest in scene.objects(FINDING_EXCEPTION):
        if (ref := Ref.of(manifest)) not in readable:
            yield ref


def separated(
    findings: Iterable[Finding], scene: Scene
) -> tuple[tuple[Finding, ...], tuple[Excepted, ...]]:
    """Return the findings that nobody excepts, and those that somebody does, both in order.

    An exception that has expired, or ends too late, excepts nothing.
    """
    by_place: dict[_Place, tuple[int, FindingException]] = {}
    for number, each in enumerate(exceptions(scene)):
        if each.fault(scene.now) is None:
            for place in _places(each, scene.own_namespace):
                by_place.setdefault(place, (number, each))
    reported: list[Finding] = []
    excepted: list[Excepted] = []
    for finding in findings:
        kind, (namespace, name) = finding.subject
        rule = finding.rule
        accepting = [
            by_place[place]
            for place in ((rule, namespace, kind, name), (rule, namespace, "", ""))
            if place in by_place
        ]
        if accepting:
            excepted.append((finding, str(min(accepting, key=itemgetter(0))[1].ref)))
        else:
            reported.append(finding)
    return tuple(reported), tuple(excepted)


def _places(exception: FindingException, own_namespace: str) -> Iterator[_Place]:
    """Yield where an exception is looked up, as `FindingException.covers` says."""
    here = exception.ref.namespace
    for rule in exception.spec.rules_:
        if exception.spec.objects is None:
            yield rule, here, "", ""
        for each in exception.spec.objects or ():
            yield rule, here, each.kind, each.name
            if here == own_namespace:
                yield rule, "", each.kind, each.name
