"""Assembles drafts: a ServiceIdentity for each subject, with the clues for each of its edges."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from troth.audit.drafting import from_environment, from_policies, from_traffic
from troth.audit.drafting.collectors import Collector, collector_of, is_collected
from troth.audit.drafting.ends import (
    ApiServer,
    Callee,
    Caller,
    Clue,
    Edge,
    Host,
    Network,
    NodeItself,
    Note,
    PortDraft,
    Selected,
    Subject,
    together,
)
from troth.audit.drafting.existing import Existing
from troth.audit.drafting.externals import Outside, external_entries
from troth.audit.drafting.subjects import SYSTEM, Directory, directory
from troth.audit.scene import Scene
from troth.resources.metadata import API_VERSION

MOST_ENTRIES = 64
MOST_PORTS = 16
NAMED = 5
"""Maximum number of namespaces without drafts that a sentence names."""
_CALLERS = {"probes": "Nodes call", "metrics": "The collector of metrics calls"}
_REVIEW = "drafted from what was seen; review who this is"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list, and the clues for it."""

    value: dict[str, Any] = field(repr=False)
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentityDraft:
    """Draft of a ServiceIdentity, or what one that exists lacks."""

    subject: Subject
    ports: tuple[PortDraft, ...]
    """Ports; of a ServiceIdentity that exists, those that it does not declare."""
    accepts: tuple[Entry, ...]
    calls: tuple[Entry, ...]
    exceptions: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def has_entries(self) -> bool:
        """Return whether the draft has more than notes."""
        return bool(self.ports or self.accepts or self.calls or self.exceptions)

    def manifest(self) -> dict[str, Any]:
        """Return the draft without its comments."""
        subject = self.subject
        spec: dict[str, Any] = {
            "workload": {
                "serviceAccountName": subject.account,
                "podSelector": dict(subject.selector),
                "ports": [port_manifest(each) for each in self.ports],
            },
            "authentication": {"mtls": {}},
            "enforcement": "Observe",
            "accepts": [each.value for each in self.accepts],
            "calls": [each.value for each in self.calls],
            "exceptions": {name: list(ports) for name, ports in self.exceptions.items()},
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "ServiceIdentity",
            "metadata": {"name": subject.ref.name, "namespace": subject.ref.namespace},
            "spec": {name: value for name, value in spec.items() if value},
        }


def port_manifest(port: PortDraft) -> dict[str, Any]:
    """Return a port as a member of `workload.ports`."""
    found: dict[str, Any] = {"name": port.name, "port": port.number}
    return found if port.protocol == "TCP" else {**found, "protocol": port.protocol}


@dataclass(frozen=True, slots=True)
class Draft:
    """All drafts of a scene."""

    identities: tuple[IdentityDraft, ...]
    """Drafts of new ServiceIdentities, by namespace and name."""
    additions: tuple[IdentityDraft, ...]
    """What ServiceIdentities that exist lack, and notes on them."""
    ungoverned: tuple[str, ...]
    """Namespaces with drafts that no TrustDomain governs."""
    collector: Collector | None
    """What collects metrics in the ungoverned namespaces."""
    nodes: tuple[str, ...]
    """Addresses of nodes from which ports were probed."""
    unplaced: tuple[str, ...]
    """Sentences about workloads that get no draft."""


@dataclass(slots=True)
class _Sheet:
    """What was learned about one subject."""

    inbound: dict[Caller, dict[PortDraft, list[Clue]]] = field(default_factory=dict)
    outbound: dict[Callee, dict[tuple[int, str], list[Clue]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ports: tuple[PortDraft, ...] = ()
    """Ports that its identity has room for."""


@dataclass(frozen=True, slots=True)
class _Drafter:
    """Drafts identities from what was learned about all subjects."""

    scene: Scene
    sheets: dict[Subject, _Sheet]
    collector: Collector | None

    def identity(self, subject: Subject) -> IdentityDraft:
        """Return the draft of a subject."""
        sheet, existing = self.sheets[subject], Existing.of(self.scene, subject)
        notes = [*subject.notes, *sheet.notes]
        exceptions: dict[str, set[str]] = {}
        accepts: list[Entry] = []
        for caller, by_port in sorted(sheet.inbound.items(), key=lambda each: _order(each[0])):
            name = self._exception(subject, caller)
            clues = {
                port: found
                for port, found in by_port.items()
                if port in sheet.ports and not _is_declared(existing, name, caller, port)
            }
            if not clues:
                continue
            names = [port.name for port in clues]
            if name:
                exceptions.setdefault(name, set()).update(names)
                notes += _told(_CALLERS[name], clues)
            else:
                accepts.append(Entry({**_peer(subject, caller), "ports": names}, _comments(clues)))
        calls = list(self._calls(subject, existing, notes))
        for member, found in (("accepts", accepts), ("calls", calls)):
            if len(found) > MOST_ENTRIES:
                notes.append(
                    f"Review: {member} has the first {MOST_ENTRIES} of {len(found)} entries."
                )
        return IdentityDraft(
            subject,
            tuple(each for each in sheet.ports if not existing or each not in subject.ports),
            tuple(accepts[:MOST_ENTRIES]),
            tuple(calls[:MOST_ENTRIES]),
            {name: tuple(sorted(ports)) for name, ports in sorted(exceptions.items())},
            tuple(notes),
        )

    def _exception(self, subject: Subject, caller: Caller) -> str:
        """Return the exception for a caller, empty if it is one for `accepts`."""
        if isinstance(caller, NodeItself):
            return "probes"
        return "metrics" if is_collected(self.scene, subject, caller, self.collector) else ""

    def _calls(
        self, subject: Subject, existing: Existing | None, notes: list[str]
    ) -> Iterator[Entry]:
        outside: Outside = {}
        outbound = self.sheets[subject].outbound
        for callee, every in sorted(outbound.items(), key=lambda each: _order(each[0])):
            numbers = {
                number: found
                for number, found in every.items()
                if existing is None or not existing.calls(callee, *number)
            }
            match callee:
                case Subject():
                    room = self.sheets[callee].ports
                    by_port = {callee.port(*number): found for number, found in numbers.items()}
                    clues = {port: found for port, found in by_port.items() if port in room}
                    if clues:
                        to = {"to": _reference(subject, callee)}
                        ports = [port.name for port in clues]
                        yield Entry({**to, "ports": ports}, _comments(clues))
                case ApiServer():
                    if numbers:
                        merged = [clue for found in numbers.values() for clue in found]
                        yield Entry({"kubernetesAPI": True}, _sentences(merged))
                case Network() | Host():
                    outside[callee] = numbers
        _restore_hosts(outside, outbound)
        for value, clues_of_it in external_entries(outside, notes):
            yield Entry(value, _sentences(clues_of_it))


def draft(scene: Scene, namespaces: Iterable[str] = ()) -> Draft:
    """Return drafts for the workloads of a scene that no ServiceIdentity selects.

    `namespaces` are those to draft, by default all that Troth watches but those of the cluster and
    of Troth.
    """
    people = directory(scene, namespaces)
    sheets = {each: _Sheet() for each in people.subjects()}
    for source in (from_traffic, from_policies, from_environment):
        for found in source.edges(scene, people):
            _enter(found, sheets)
    collector = collector_of(people)
    for subject, sheet in sheets.items():
        _choose_ports(subject, sheet)
    drafter = _Drafter(scene, sheets, collector)
    drafts = [drafter.identity(each) for each in sheets]
    new = tuple(each for each in drafts if not each.subject.exists)
    places = sorted({each.subject.ref.namespace for each in new})
    probed = any("probes" in each.exceptions for each in new)
    return Draft(
        new,
        tuple(each for each in drafts if each.subject.exists and (each.has_entries or each.notes)),
        tuple(each for each in places if not scene.is_governed(each)),
        collector,
        tuple(sorted(scene.traffic.nodes)) if probed else (),
        tuple(_unplaced(people, namespaces, scene)),
    )


def _enter(found: Edge | Note, sheets: dict[Subject, _Sheet]) -> None:
    if isinstance(found, Note):
        if found.text not in sheets[found.subject].notes:
            sheets[found.subject].notes.append(found.text)
        return
    if isinstance(found.callee, Subject):
        port = found.callee.port(found.port, found.protocol)
        ports = sheets[found.callee].inbound.setdefault(found.caller, {})
        ports.setdefault(port, []).append(found.clue)
    if isinstance(found.caller, Subject):
        numbers = sheets[found.caller].outbound.setdefault(found.callee, {})
        numbers.setdefault((found.port, found.protocol), []).append(found.clue)


def _choose_ports(subject: Subject, sheet: _Sheet) -> None:
    """Choose the ports of an identity: those that are declared there, then those in use."""
    used = {port for ports in sheet.inbound.values() for port in ports}
    extra = sorted(used - {*subject.ports}, key=lambda each: each.number)
    every = (*subject.ports, *extra)
    room = sorted(
        every, key=lambda each: not ((subject.exists and each in subject.ports) or each in used)
    )
    kept = {*room[:MOST_PORTS]}
    sheet.ports = tuple(each for each in every if each in kept)
    for each in extra:
        if each in kept:
            sheet.notes.append(
                f"It is called on port {each.number}, which workload.ports does not declare."
                if subject.exists
                else f"No container declares port {each.number}; connections show it."
            )
    if left := [each for each in every if each not in kept]:
        sheet.notes.append(
            f"Review: it has {len(every)} ports, and an identity has at most {MOST_PORTS}. Left "
            f"out: {', '.join(str(each.number) for each in left)}."
        )
    if lost := [str(each.number) for each in left if each in used]:
        sheet.notes.append(
            f"Review: something calls port {', '.join(lost)}, which is left out. Split the "
            "workload, or remove ports that nobody calls."
        )


def _is_declared(
    existing: Existing | None, exception: str, caller: Caller, port: PortDraft
) -> bool:
    if existing is None:
        return False
    return existing.excepts(exception, port) if exception else existing.accepts(caller, port)


def _restore_hosts(outside: Outside, outbound: Mapping[Callee, Any]) -> None:
    """Put back declared hosts of ports with new networks, whose entries they name."""
    new = {
        number
        for callee, numbers in outside.items()
        if isinstance(callee, Network)
        for number in numbers
    }
    for callee in outside:
        if isinstance(callee, Host):
            every = outbound[callee]
            outside[callee] = outside[callee] | {each: every[each] for each in every if each in new}


def _peer(subject: Subject, caller: Caller) -> dict[str, Any]:
    match caller:
        case Subject():
            return {"from": _reference(subject, caller)}
        case Selected():
            return {"unverified": {**caller.peer(), "reason": _REVIEW}}
        case Network():
            return {"unverified": {"cidrs": [caller.cidr], "reason": _REVIEW}}
        case _:
            raise AssertionError(caller)


def _reference(here: Subject, there: Subject) -> dict[str, str]:
    found = {"name": there.ref.name}
    if there.ref.namespace != here.ref.namespace:
        found["namespace"] = there.ref.namespace
    return found


def _order(end: Caller | Callee) -> tuple[int, str]:
    match end:
        case Subject():
            return 0, str(end.ref)
        case _:
            return 1, f"{type(end).__name__} {end}"


def _comments(clues: dict[PortDraft, list[Clue]]) -> tuple[str, ...]:
    if len(clues) == 1:
        ((_, found),) = clues.items()
        return _sentences(found)
    return tuple(
        f"{port.name}: {sentence}"
        for port, found in clues.items()
        for sentence in _sentences(found)
    )


def _sentences(clues: list[Clue]) -> tuple[str, ...]:
    return tuple(each.sentence() for each in together(clues))


def _told(who: str, clues: dict[PortDraft, list[Clue]]) -> Iterator[str]:
    for port, found in clues.items():
        yield f"{who} {port.name}: {'; '.join(_sentences(found))}."


def _unplaced(people: Directory, namespaces: Iterable[str], scene: Scene) -> Iterator[str]:
    drafted = {each.ref.namespace for each in people.subjects() if not each.exists}
    wanted = set(namespaces) or drafted
    for member in people.members:
        if member.object.ref.namespace not in wanted or people.subject_of(member.object):
            continue
        if member.spec.host_network:
            yield (
                f"{member.object} is in the host network, to which NetworkPolicies do not apply, "
                "so it gets no draft."
            )
        else:
            yield (
                f"{member.object} has no label that stays the same, so it gets no draft. Add a "
                "label such as app to its pod template."
            )
    others = [
        each
        for each in scene.namespaces()
        if each not in people.watched and each not in SYSTEM and people.members_in(each)
    ]
    if others and not namespaces:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        yield (
            "Troth does not watch the namespaces of other workloads, which get no draft: "
            f"{', '.join(others[:NAMED])}{more}; add those to draft to the chart value namespaces."
        )
    for each in scene.traffic.blind:
        yield f"Not all traffic was seen: {each}."
