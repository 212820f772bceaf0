"""`troth token explain`: derives the scopes of a token from declarations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from troth.cli.status.track import length
from troth.pki.spiffe import spiffe_id
from troth.planning.network.issuers import issuer_url
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import not_watched
from troth.trust.edges.declared import edges_of
from troth.trust.edges.evaluation import Edge
from troth.trust.edges.scopes import Entry, Scopes, audience_of, scopes_between
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class ScopeExplanation:
    """One scope that caller or callee names: whether a token has it, and why not.

    `missing` is empty for a scope that is held, or that only lacks a live edge.
    """

    scope: str
    held: bool
    given: tuple[Entry, ...]
    asked: tuple[Entry, ...]
    ports: tuple[str, ...]
    """The ports with a live edge for which the callee grants it."""
    missing: str = ""
    mend: Entry | None = None
    """The entry to add it to, if one exists."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The scopes of a token from caller to callee and their origin, or why none is issued."""

    caller: Ref
    callee: Ref
    edges: tuple[Edge, ...]
    takes_tokens: bool
    scopes: tuple[ScopeExplanation, ...]
    facts: Mapping[str, str]
    """Subject, audience, issuer and lifetime of the token; empty if none is issued."""

    @property
    def issued(self) -> bool:
        """Whether a token is issued at all."""
        return self.takes_tokens and any(edge.state is EdgeState.LIVE for edge in self.edges)


def explain(world: World, caller: Ref, callee: Ref, now: datetime) -> Explanation:
    """Derive the token from the declarations of both sides."""
    registry = world.registry
    edges = tuple(
        edge
        for edge in edges_of(registry, caller, now, by_port=True)
        if (edge.caller, edge.callee) == (caller, callee)
    )
    first, second = (registry.identities.get(ref) for ref in (caller, callee))
    takes = second is not None and second.spec.authentication.token is not None
    explained = tuple(_scopes(first, second, edges)) if first and second else ()
    facts = _facts(world, first, second) if first and second else {}
    return Explanation(caller, callee, edges, takes, explained, facts)


def find(registry: Registry, name: str) -> Ref:
    """Return the identity that `namespace/name` or a unique name refers to.

    An identity that does not exist is found if others name it. Raises `FaultyManifests` if none
    or several match.
    """
    namespace, slash, rest = name.rpartition("/")
    if slash and registry.naming(Ref(namespace, rest)):
        return Ref(namespace, rest)
    known = {*registry.identities, *registry.invalid_identities}
    found = sorted(ref for ref in known if ref.name == rest and (not slash or ref[0] == namespace))
    if len(found) == 1:
        return found[0]
    there = " or ".join(map(str, found))
    sentence = f"ambiguous; write {there}" if found else "not found; write NAMESPACE/NAME"
    if slash and namespace not in registry.watched:
        sentence = not_watched(namespace)
    raise FaultyManifests([ManifestFault("", f"ServiceIdentity {name}", "", sentence)])


def _facts(world: World, caller: ServiceIdentity, callee: ServiceIdentity) -> Mapping[str, str]:
    registry = world.registry
    token = callee.spec.authentication.token
    issuing = registry.governance(caller.ref.namespace).domain
    subject, own = (_spiffe_id(registry, each) for each in (caller, callee))
    if token is None or issuing is None or issuing.spec.tokens is None or not own:
        return {}
    return {
        "subject": subject,
        "audience": audience_of(callee, own),
        "issuer": issuer_url(issuing, world.own_namespace),
        "lifetime": length(token.lifetime),
    }


def _spiffe_id(registry: Registry, identity: ServiceIdentity) -> str:
    namespace, account = identity.ref.namespace, identity.spec.workload.service_account_name
    domain = registry.governance(namespace).domain
    return spiffe_id(domain.spec.domain, namespace, account) if domain else ""


def _scopes(
    caller: ServiceIdentity, callee: ServiceIdentity, edges: tuple[Edge, ...]
) -> Iterator[ScopeExplanation]:
    live = {edge.port for edge in edges if edge.state is EdgeState.LIVE}
    both = scopes_between(caller, callee, live)
    held = both.held
    for scope in sorted({scope for entry in (*both.given, *both.asked) for scope in entry.scopes}):
        given = tuple(entry for entry in both.given if scope in entry.scopes)
        asked = tuple(entry for entry in both.asked if scope in entry.scopes)
        ports = {port for entry in given for port in entry.ports} & live
        explained = ScopeExplanation(scope, scope in held, given, asked, tuple(sorted(ports)))
        missing = {} if explained.held else _missing(both, explained, caller.ref, callee.ref)
        yield replace(explained, **missing)


def _missing(both: Scopes, explained: ScopeExplanation, caller: Ref, callee: Ref) -> dict[str, Any]:
    """Return which side does not name the scope, and the entry to add it to."""
    for said, entries, silent, field in (
        (explained.given, both.given, f"{callee} does not grant it", "accepts"),
        (explained.asked, both.asked, f"{caller} does not request it", "calls"),
    ):
        if not said and not entries:
            return {"missing": f"{silent}, and has no entry for this peer under {field}"}
        if not said:
            # prefer an entry on a port with a live edge: elsewhere the scope would have no effect
            counting = (entry for entry in entries if both.counts(entry))
            return {"missing": silent, "mend": next(counting, entries[0])}
    for entries, speaks in (
        (explained.given, f"{callee} grants"),
        (explained.asked, f"{caller} requests"),
    ):
        if both.live and not any(map(both.counts, entries)):
            ports = ", ".join(sorted({port for entry in entries for port in entry.ports}))
            return {"missing": f"{speaks} it only on {ports}, and no edge there is live"}
    return {}
