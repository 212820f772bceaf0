"""The pending narrowing of an identity: grants in its Secret that are no longer declared.

It is the difference between two texts of `identity.json`, the current one and the declared one. A
peer that is no longer declared is not included: its edge is not live, so every other layer closes
it. A text that cannot be read may grant anything, so it counts as granting too much.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from troth.documents.secret_keys import ROOTS
from troth.planning.certificates.anchors import roots_in
from troth.planning.identity.secret.document import current_document
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import objects_in
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges.evaluation import Edge
from troth.world.facts.webhook_listed import listed_in
from troth.world.observation.objects import PEERS

Document = Mapping[str, Any]
Grants = dict[tuple[str, str], frozenset[str]]
"""Rights of a peer on a port, by SPIFFE ID and port."""

TOO_MUCH = "*"
"""Placeholder for a grant that cannot be read."""


@dataclass(frozen=True, slots=True)
class Peering:
    """Declared edges of an identity, and the SPIFFE IDs of their peers."""

    identity: Ref
    edges: tuple[Edge, ...]
    spiffe_ids: Mapping[Ref, str]

    @property
    def callers(self) -> dict[str, Ref]:
        """The callers by SPIFFE ID."""
        return {
            self.spiffe_ids[edge.caller]: edge.caller
            for edge in self.edges
            if edge.callee == self.identity and edge.caller in self.spiffe_ids
        }

    @property
    def callees(self) -> set[Ref]:
        """The callees that have a certificate."""
        return {
            edge.callee
            for edge in self.edges
            if edge.caller == self.identity and edge.callee in self.spiffe_ids
        }


def pending_narrowing(
    public: Mapping[str, str], declared: Mapping[str, str], peering: Peering
) -> Narrowing:
    """Return the peers that a Secret's `public` part grants more than the `declared` one."""
    text = public.get(PEERS, "")
    roots = bool(roots_in(public.get(ROOTS, "")) - roots_in(declared.get(ROOTS, "")))
    if text == declared.get(PEERS):
        return Narrowing(every_caller=roots, every_callee=roots)
    current, wanted = current_document(text), current_document(declared.get(PEERS, ""))
    if not current:
        return Narrowing(every_caller=bool(text) or roots, every_callee=roots)
    everybody = roots or _asks_for_less(current, wanted)
    callers = set() if everybody else set(_callers(current, wanted, peering.callers))
    callees = set() if roots else _callees(current, wanted) & peering.callees
    return Narrowing(frozenset(callers), frozenset(callees), everybody, roots)


def _callers(current: Document, wanted: Document, callers: Mapping[str, Ref]) -> Iterable[Ref]:
    """Yield the callers that `current` grants more than `wanted`."""
    for granted in (_accepted, _delivered):
        before, after = granted(current), granted(wanted)
        for (spiffe_id, port), grants in before.items():
            caller = callers.get(spiffe_id)
            known = after.get((spiffe_id, port))
            if caller is not None and (known is None or not grants <= known):
                yield caller


def _accepted(document: Document) -> Grants:
    """Return every caller's scopes on every port, and the context it may forward."""
    grants: Grants = {}
    for entry in objects_in(document.get("accepts")):
        spiffe_id, ports = entry.get("spiffeID"), entry.get("ports")
        for port in ports if isinstance(ports, list) else [{}]:
            given = port if isinstance(port, dict) else {}
            name = given.get("name")
            place = str(spiffe_id), name if isinstance(name, str) else TOO_MUCH
            said = {f"scope {scope}" for scope in _words(given.get("scopes"))}
            said |= {f"forwards {part}" for part in _words(given.get("forwards", []))}
            grants[place] = grants.get(place, frozenset()) | said
    return grants


def _delivered(document: Document) -> Grants:
    """Return the endpoints and the signing keys of every webhook gateway on every port."""
    grants: Grants = {}
    for each in listed_in(document):
        place = each.gateway, each.port
        endpoint = f"endpoint {each.endpoint} {each.path} {each.workflow}"
        grants[place] = grants.get(place, frozenset()) | {endpoint}
    for entry in objects_in(document.get("webhooks")):
        keys = entry.get("keys")
        listed = objects_in(keys.get("keys")) if isinstance(keys, dict) else []
        place = str(entry.get("gateway")), str(entry.get("port"))
        grants[place] = grants.get(place, frozenset()) | {f"key {key.get('kid')}" for key in listed}
    return grants


def _callees(current: Document, wanted: Document) -> set[Ref]:
    """Return the callees that `current` lists with a SPIFFE ID that `wanted` does not have."""
    after = {
        (entry.get("name"), entry.get("spiffeID")) for entry in objects_in(wanted.get("calls"))
    }
    found = set()
    for entry in objects_in(current.get("calls")):
        name, spiffe_id = entry.get("name"), entry.get("spiffeID")
        if isinstance(name, str) and (
            not isinstance(spiffe_id, str) or (name, spiffe_id) not in after
        ):
            namespace, _, local = name.partition("/")
            found.add(Ref(namespace, local))
    return found


def _asks_for_less(current: Document, wanted: Document) -> bool:
    """Return whether `current` requires less of callers than `wanted`, or trusts other issuers."""
    before, after = _object(current.get("requires")), _object(wanted.get("requires"))
    if not set(_words(after.get("context", []))) <= set(_words(before.get("context", []))):
        return True
    if "token" in after and before.get("token") != after["token"]:
        return True
    return any(
        not _object(current.get(part)).items() <= _object(wanted.get(part)).items()
        for part in ("issuers", "issuerIDs")
    )


def _words(part: object) -> list[str]:
    """Return the strings of a list, with `TOO_MUCH` for each part that is no string."""
    if not isinstance(part, list):
        return [TOO_MUCH]
    return [each if isinstance(each, str) else TOO_MUCH for each in part]


def _object(part: object) -> dict[str, Any]:
    return part if isinstance(part, dict) else {}
