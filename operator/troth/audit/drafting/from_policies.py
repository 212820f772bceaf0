"""Edges that NetworkPolicies of others allow."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from troth.audit.drafting.blocks import UnusableBlockError, networks
from troth.audit.drafting.ends import (
    ApiServer,
    Caller,
    Clue,
    Edge,
    Network,
    Note,
    Selected,
    Subject,
)
from troth.audit.drafting.places import Places
from troth.audit.drafting.subjects import Directory, outside
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector

MANAGED_BY = "app.kubernetes.io/managed-by"
DNS = 53


@dataclass(frozen=True, slots=True)
class _Policy:
    ref: Ref
    spec: dict[str, Any] = field(repr=False)
    directory: Directory
    places: Places

    @property
    def clue(self) -> Clue:
        return Clue(f"NetworkPolicy {self.ref}")

    def own(self) -> list[Subject]:
        pods = _selector(self.spec.get("podSelector") or {})
        members = self.directory.selected([self.ref.namespace], pods) if pods else []
        found = (self.directory.subject_of(each.object) for each in members)
        return list(dict.fromkeys(each for each in found if each is not None))


def edges(scene: Scene, directory: Directory) -> Iterator[Edge | Note]:
    """Yield the edges that the rules of NetworkPolicies allow, without those of Troth."""
    places = Places.of(scene)
    for manifest in scene.objects("NetworkPolicy"):
        labels = manifest["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) == "troth":
            continue
        policy = _Policy(Ref.of(manifest), manifest.get("spec") or {}, directory, places)
        yield from _ingress(policy)
        yield from _egress(policy)


def _ingress(policy: _Policy) -> Iterator[Edge | Note]:
    for rule in policy.spec.get("ingress") or ():
        for callee in policy.own():
            if not rule.get("from"):
                text = (
                    f"Review: NetworkPolicy {policy.ref} accepts everybody. Traffic says who calls."
                )
                yield Note(callee, text)
                continue
            for peer in rule["from"]:
                for caller in _callers(policy, peer, callee):
                    if isinstance(caller, Note):
                        yield caller
                        continue
                    for number, protocol in _ports(rule, callee):
                        yield Edge(caller, callee, number, protocol, policy.clue)


def _egress(policy: _Policy) -> Iterator[Edge | Note]:
    for rule in policy.spec.get("egress") or ():
        for caller in policy.own():
            if not rule.get("to"):
                if not _is_dns(rule):
                    text = f"Review: NetworkPolicy {policy.ref} allows calls to everywhere."
                    yield Note(caller, text)
                continue
            for peer in rule["to"]:
                for callee in _callees(policy, rule, peer, caller):
                    if isinstance(callee, Note):
                        yield callee
                        continue
                    yield from _edges_to(policy, rule, caller, callee)


def _edges_to(
    policy: _Policy, rule: dict[str, Any], caller: Subject, callee: Subject | Network
) -> Iterator[Edge]:
    for number, protocol in _ports(rule, callee):
        if isinstance(callee, Network) and policy.places.is_api_server(callee.cidr, number):
            yield Edge(caller, ApiServer(), number, protocol, policy.clue)
        else:
            yield Edge(caller, callee, number, protocol, policy.clue)


def _callers(policy: _Policy, peer: dict[str, Any], own: Subject) -> Iterator[Caller | Note]:
    if isinstance(peer.get("ipBlock"), dict):
        yield from _networks(policy, peer["ipBlock"], own)
        return
    pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if not pods and _is_here(namespaces, policy.ref.namespace):
        text = f"Review: NetworkPolicy {policy.ref} accepts every pod of this namespace."
        yield Note(own, text)
        return
    members = _members(policy, peer)
    subjects = [policy.directory.subject_of(each.object) for each in members]
    if not members or (not pods and None in subjects):
        yield Selected.of(namespaces, pods or None)
        return
    for member, subject in zip(members, subjects, strict=True):
        yield subject or Selected.workload(member.object.ref.namespace, outside(member))


def _callees(
    policy: _Policy, rule: dict[str, Any], peer: dict[str, Any], own: Subject
) -> Iterator[Subject | Network | Note]:
    allows = f"Review: NetworkPolicy {policy.ref} allows calls to"
    if isinstance(peer.get("ipBlock"), dict):
        found = list(_networks(policy, peer["ipBlock"], own))
        yield from found
        if not _names_ports(rule) and not any(isinstance(each, Note) for each in found):
            text = f"{allows} {peer['ipBlock'].get('cidr')} on ports that it does not name one by "
            yield Note(own, f"{text}one. Traffic says which are used.")
        return
    if not peer.get("podSelector"):
        yield Note(own, f"{allows} every pod of a namespace.")
        return
    if _is_dns(rule):
        return
    members = _members(policy, peer)
    if not members:
        yield Note(own, f"{allows} pods of which there are none.")
    for member in members:
        subject = policy.directory.subject_of(member.object)
        if subject is None:
            why = policy.directory.why_no_draft(member.object)
            yield Note(own, f"{allows} {member.object}, {why}")
        else:
            yield subject


def _networks(policy: _Policy, block: dict[str, object], own: Subject) -> Iterator[Network | Note]:
    try:
        yield from networks(block)
    except UnusableBlockError as error:
        yield Note(own, f"Review: NetworkPolicy {policy.ref} has {error}.")


def _names_ports(rule: dict[str, Any]) -> bool:
    """Return whether a rule names each of its ports by number."""
    ports = rule.get("ports") or ()
    return bool(ports) and all(
        isinstance(each.get("port"), int) and each.get("endPort") is None for each in ports
    )


def _members(policy: _Policy, peer: dict[str, Any]) -> list[Any]:
    pods = _selector(peer.get("podSelector") or {})
    namespaces = [policy.ref.namespace]
    if peer.get("namespaceSelector") is not None:
        selector = _selector(peer["namespaceSelector"])
        namespaces = policy.directory.namespaces(selector) if selector else []
    return policy.directory.selected(namespaces, pods) if pods else []


def _is_here(namespaces: object, here: str) -> bool:
    named = {"matchLabels": {"kubernetes.io/metadata.name": here}}
    return namespaces is None or namespaces == named


def _is_dns(rule: dict[str, Any]) -> bool:
    ports = rule.get("ports") or ()
    return bool(ports) and all(each.get("port") == DNS for each in ports)


def _ports(rule: dict[str, Any], callee: object) -> Iterator[tuple[int, str]]:
    """Yield the ports of a rule; without any, all that the callee declares."""
    subject = callee if isinstance(callee, Subject) else None
    if not rule.get("ports"):
        yield from ((each.number, each.protocol) for each in (subject.ports if subject else ()))
        return
    for each in rule["ports"]:
        protocol, port, end = (
            str(each.get("protocol") or "TCP"),
            each.get("port"),
            each.get("endPort"),
        )
        if subject is not None and (port is None or isinstance(end, int)):
            least, most = (port or 1, end or 65535) if isinstance(port, int | None) else (1, 0)
            yield from (
                (own.number, protocol)
                for own in subject.ports
                if own.protocol == protocol and least <= own.number <= most
            )
        elif isinstance(port, int):
            yield port, protocol
        elif subject is not None:
            yield from ((number, protocol) for number in subject.numbers(port, protocol))


def _selector(value: object) -> LabelSelector | None:
    try:
        return LabelSelector.model_validate(value)
    except ValidationError:  # a selector that Troth cannot hold, such as one with 17 labels
        return None
