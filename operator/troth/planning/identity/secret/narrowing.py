"""The pending narrowing of an identity: grants in its Secret that are no longer declared.

It is the difference between two texts of `identity.json`, the current one and the declared one. A
peer that is no longer declared is not included: its edge is not live, so every other layer closes
it. A text that cannot be read may grant anything, so it counts as granting too much.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from troth.documents.identity.grants import accepted, called, delivered, requires_less
from troth.documents.identity.reading import Members, parsed
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS
from troth.planning.certificates.anchors import roots_in
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges.evaluation import Edge


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
    text = public.get(IDENTITY_JSON, "")
    roots = bool(roots_in(public.get(ROOTS, "")) - roots_in(declared.get(ROOTS, "")))
    if text == declared.get(IDENTITY_JSON):
        return Narrowing(every_caller=roots, every_callee=roots)
    current, wanted = parsed(text), parsed(declared.get(IDENTITY_JSON, ""))
    if not current:
        return Narrowing(every_caller=bool(text) or roots, every_callee=roots)
    everybody = roots or requires_less(current, wanted)
    callers = set() if everybody else set(_callers(current, wanted, peering.callers))
    callees = set() if roots else _callees(current, wanted) & peering.callees
    return Narrowing(frozenset(callers), frozenset(callees), everybody, roots)


def _callers(current: Members, wanted: Members, callers: Mapping[str, Ref]) -> Iterable[Ref]:
    """Yield the callers that `current` grants more than `wanted`."""
    for granted in (accepted, delivered):
        before, after = granted(current), granted(wanted)
        for (spiffe_id, port), grants in before.items():
            caller = callers.get(spiffe_id)
            known = after.get((spiffe_id, port))
            if caller is not None and (known is None or not grants <= known):
                yield caller


def _callees(current: Members, wanted: Members) -> set[Ref]:
    """Return the callees that `current` lists with a SPIFFE ID that `wanted` does not have."""
    after = set(called(wanted))
    found = set()
    for name, spiffe_id in called(current):
        if spiffe_id is None or (name, spiffe_id) not in after:
            namespace, _, local = name.partition("/")
            found.add(Ref(namespace, local))
    return found
