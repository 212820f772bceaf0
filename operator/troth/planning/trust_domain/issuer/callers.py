"""Callers of an issuer, and the tokens that their live edges allow each of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from troth.documents.token_grants import CurrentGrants
from troth.pki.spiffe import spiffe_id
from troth.planning.faults import ErrorBoundary
from troth.planning.trust_domain.facts import IssuerView
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import edges_from
from troth.trust.edges.scopes import audience_of, scopes_between


@dataclass(slots=True)
class _Caller:
    """Builder of one caller's entry in the view.

    `current` is the caller's entry in the written view. A caller is `firm` if its SPIFFE ID
    is certainly its own; any other gets nothing that it does not have there.
    """

    spiffe_id: str
    identity: ServiceIdentity | None
    current: Mapping[str, Any] = field(repr=False)
    firm: bool
    audiences: dict[str, tuple[frozenset[str], int]] = field(default_factory=dict)

    def grant(self, audience: str, scopes: Iterable[str], lifetime: int) -> None:
        """Add scopes for an audience; the shortest lifetime wins."""
        had, length = self.audiences.get(audience, (frozenset(), lifetime))
        self.audiences[audience] = had.union(scopes), min(length, lifetime)

    def keep(self, audience: str, scopes: Collection[str]) -> None:
        """Grant those of these scopes that the current view already grants for an audience."""
        match self.had.get(audience):
            case {"scopes": list(had), "lifetime": int(lifetime)}:
                self.grant(audience, (each for each in had if each in scopes), lifetime)

    def absorb(self, other: "_Caller") -> None:
        """Add the grants of another identity with the same SPIFFE ID."""
        for audience, (scopes, lifetime) in other.audiences.items():
            self.grant(audience, scopes, lifetime)

    @property
    def had(self) -> Mapping[str, Any]:
        """Audiences of the caller in the current view."""
        audiences = self.current.get("audiences")
        return audiences if isinstance(audiences, dict) else {}

    def entry(self) -> dict[str, Any]:
        """Return the caller's entry in the view."""
        entry: dict[str, Any] = {
            "audiences": {
                audience: {"scopes": sorted(scopes), "lifetime": lifetime}
                for audience, (scopes, lifetime) in sorted(self.audiences.items())
            }
        }
        starts = self._starts()
        return entry | ({"startsTransactions": starts} if starts else {})

    def _starts(self) -> Mapping[str, Any] | None:
        had = self.current.get("startsTransactions")
        if self.identity is None:
            return had if isinstance(had, dict) else None
        declared = self.identity.spec.starts_transactions
        if declared is None or (not self.firm and not isinstance(had, dict)):
            return None
        starts = {"scopes": sorted(declared.scopes), "context": sorted(declared.context)}
        if self.firm:
            return starts
        assert isinstance(had, dict)
        return {
            part: [each for each in said if each in (had.get(part) or ())]
            for part, said in starts.items()
        }


def callers_of(
    view: IssuerView, current: CurrentGrants, *, boundary: ErrorBoundary
) -> dict[str, Any]:
    """Return the entry of each caller of a trust domain, by SPIFFE ID, sorted.

    An identity's entry is cached until the identity or one of its peers changes. A caller whose
    entry raises an error gets no grants.
    """
    domain, registry, known = view.domain, view.registry, view.entries
    unreadable = sorted(registry.unreadable())
    as_ever = not unreadable
    entries: dict[str, dict[str, Any]] = {}
    callers: dict[Ref, _Caller] = {}
    for namespace in registry.claimed_by(domain):
        for ref in registry.identities_in(namespace):
            if as_ever and (entry := known.get(ref)) is not None and entry[0] == domain.spec.domain:
                entries[entry[1]] = entry[2]
                continue
            caller, unsettled = boundary.run(
                partial(_with_grants, domain, registry, ref, current, view.moment.now),
                lambda _: (None, True),
            )
            if caller is not None:
                callers[ref] = caller
                if as_ever and caller.firm and not unsettled:
                    known[ref] = domain.spec.domain, caller.spiffe_id, caller.entry()
    _keep_for_unreadable_callees(callers, unreadable, registry)
    by_name = _unreadable(domain, unreadable, registry, current)
    for caller in callers.values():
        by_name.setdefault(caller.spiffe_id, caller).absorb(caller)
    entries |= {name: caller.entry() for name, caller in by_name.items()}
    return {name: entries[name] for name in sorted(entries)}


def _member(
    domain: TrustDomain, registry: Registry, ref: Ref, current: CurrentGrants
) -> "_Caller | None":
    """Return an identity as a caller of the issuer, None if it cannot be one.

    A caller needs a certificate to authenticate with. An identity that several domains claim, or
    that shares its SPIFFE ID with another, counts only if the current view lists it.
    """
    identity = registry.identities[ref]
    if identity.spec.authentication.certificate is None:
        return None
    name = spiffe_id(domain.spec.domain, ref.namespace, identity.spec.workload.service_account_name)
    governed = registry.governance(ref.namespace).domain is not None
    firm = governed and registry.shared_identity(ref) is None
    if not firm and name not in current:
        return None
    return _Caller(name, identity, current.get(name, {}), firm)


def _with_grants(
    domain: TrustDomain,
    registry: Registry,
    ref: Ref,
    current: CurrentGrants,
    now: datetime,
) -> "tuple[_Caller | None, bool]":
    """Return a caller with its grants, and whether one of its edges is suspended."""
    caller = _member(domain, registry, ref, current)
    return caller, caller is not None and _grant_all(caller, registry, ref, now)


def _grant_all(caller: "_Caller", registry: Registry, ref: Ref, now: datetime) -> bool:
    """Grant a caller what its edges allow; return whether one of them is suspended."""
    assert caller.identity is not None
    ports: dict[Ref, dict[EdgeState, set[str]]] = {}
    for edge in edges_from(registry, ref, now, among=registry.takes_tokens):
        ports.setdefault(edge.callee, {}).setdefault(edge.state, set()).add(edge.port)
    for callee, by_state in ports.items():
        identity = registry.identities[callee]
        token = identity.spec.authentication.token
        assert token is not None
        for audience in _audiences(registry, callee):
            if live := by_state.get(EdgeState.LIVE):
                scopes = scopes_between(caller.identity, identity, live).held
                if caller.firm:
                    caller.grant(audience, scopes, int(token.lifetime.total_seconds()))
                else:
                    caller.keep(audience, scopes)
            if suspended := by_state.get(EdgeState.SUSPENDED):
                caller.keep(audience, scopes_between(caller.identity, identity, suspended).held)
    return any(EdgeState.SUSPENDED in each for each in ports.values())


def _audiences(registry: Registry, callee: Ref) -> list[str]:
    """Return the audience of a callee, one for each trust domain that claims its namespace."""
    identity = registry.identities[callee]
    account = identity.spec.workload.service_account_name
    return sorted(
        {
            audience_of(identity, spiffe_id(claim.spec.domain, callee.namespace, account))
            for claim in registry.governance(callee.namespace).claims
        }
    )


# Unreadable identities


def _unreadable(
    domain: TrustDomain, unreadable: Iterable[Ref], registry: Registry, current: CurrentGrants
) -> dict[str, _Caller]:
    """Return the callers in the current view that may be unreadable identities, by SPIFFE ID.

    Of an unreadable identity only the namespace is known. So every caller from that namespace that
    is no readable identity is kept, with the audiences of the callees that still accept it.
    """
    kept: dict[str, _Caller] = {}
    for ref in unreadable:
        claims = registry.governance(ref.namespace).claims
        if all(claim.metadata.name != domain.metadata.name for claim in claims):
            continue
        prefix, others = _names_in(ref.namespace, domain, registry)
        for name in current:
            if name.startswith(prefix) and name not in others:
                caller = kept[name] = _Caller(name, None, current[name], firm=False)
                for callee in registry.taking_tokens() & registry.naming(ref):
                    for audience in _audiences(registry, callee):
                        caller.keep(audience, _given(registry.identities[callee], ref))
    return kept


def _names_in(
    namespace: str, domain: TrustDomain, registry: Registry
) -> tuple[str, Collection[str]]:
    """Return the prefix of a namespace's SPIFFE IDs, and those of its readable identities."""
    prefix = f"spiffe://{domain.spec.domain}/ns/{namespace}/sa/"
    inside = (registry.claimants[ref] for ref in registry.claimants_in(namespace))
    return prefix, {prefix + each.spec.workload.service_account_name for each in inside}


def _given(callee: ServiceIdentity, caller: Ref) -> set[str]:
    return {
        scope
        for each in callee.spec.accepts
        if each.from_ and each.from_.seen_from(callee.ref.namespace) == caller
        for scope in each.scopes
    }


def _keep_for_unreadable_callees(
    callers: Mapping[Ref, _Caller], unreadable: Iterable[Ref], registry: Registry
) -> None:
    """Keep, for the callers of an unreadable callee, the audiences that may be the callee's."""
    for ref in unreadable:
        calling = [
            callers[each]
            for each in registry.naming(ref) & callers.keys()
            if ref in registry.declared(each).calls
        ]
        if not calling:
            continue
        others = {
            audience
            for callee in registry.taking_tokens()
            for audience in _audiences(registry, callee)
        }
        for caller in calling:
            assert caller.identity is not None
            requested = _requested(caller.identity, ref)
            for audience in caller.had:
                if audience not in others:
                    caller.keep(audience, requested)


def _requested(caller: ServiceIdentity, callee: Ref) -> set[str]:
    return {
        scope
        for each in caller.spec.calls
        if each.to and each.to.seen_from(caller.ref.namespace) == callee
        for scope in each.scopes
    }
