"""Overview of a cluster on one screen: what is live, and what needs a person."""

from collections.abc import Iterable, Iterator, Mapping

from troth.cli.grants.report import GIVEN
from troth.cli.status.edges import live_edges, not_live
from troth.cli.status.models import (
    DomainSummary,
    Entry,
    IdentitySummary,
    Summary,
    status_of,
    unvalidated,
)
from troth.cli.status.proofs import disproven
from troth.cli.status.webhook_models import EndpointSummary
from troth.planning.reasons.origins import ORIGINS, Origin
from troth.resources.identity.status import EdgeState
from troth.resources.manifests import Manifest
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import parse_moment

DOMAIN, IDENTITY, ROTATION = "TrustDomain", "ServiceIdentity", "CredentialRotation"
POLICY, BROKER, ENDPOINT = "TopicPolicy", "MessageBroker", "WebhookEndpoint"

_AWAITING = frozenset(
    {
        EdgeState.AWAITING_CALLER.value,
        EdgeState.AWAITING_CALLEE.value,
        GrantState.AWAITING_POLICY.value,
        GrantState.AWAITING_IDENTITY.value,
    }
)
_REJECTED = frozenset(
    {
        EdgeState.REFUSED.value,
        EdgeState.SUSPENDED.value,
        GrantState.REFUSED.value,
        GrantState.SUSPENDED.value,
    }
)
_VERBS = {
    Action.PUBLISH.value: "publishes",
    Action.CONSUME.value: "consumes",
    Action.REVIEW.value: "reviews",
}


class Expiry(Model):
    """Something that ends at a time."""

    what: str
    at: str
    """The time, in RFC 3339."""
    renewed: bool
    """Whether Troth renews it before that time."""


class Overview(Model):
    """What is live, and what needs a person."""

    counts: dict[str, int]
    """The number of resources of each kind."""
    live_edges: int
    live_grants: int
    half_declared: tuple[Entry, ...] = ()
    """Edges and grants that one side declares alone."""
    rejected: tuple[Entry, ...] = ()
    """Edges and grants that both sides declare and Troth does not allow, and resources that are
    not ready."""
    unvalidated: tuple[Entry, ...] = ()
    """Policies with clients that do not name the guard for events."""
    disproven: tuple[Entry, ...] = ()
    """Edges, and pairs without an edge, that `troth prove` found not to be as declared."""
    drifting: tuple[Entry, ...] = ()
    """Objects and broker rules that are not as declared."""
    expiring: tuple[Expiry, ...] = ()
    """What ends next, the soonest first: certificates, roots, and exceptions from
    authentication."""


def overview(
    objects: Mapping[str, Iterable[Manifest]],
    summaries: Iterable[Summary],
    identities: Iterable[Manifest],
) -> Overview:
    """Return the overview of these resources, by kind, which also have the summaries.

    `identities` are those of all namespaces: an edge may have its other end there.
    """
    by_kind = {kind: list(found) for kind, found in objects.items()}
    edges = not_live(by_kind.get(IDENTITY, []), identities)
    links = [*edges, *dict(_grants(by_kind)).values()]
    every = [(kind, each) for kind, found in by_kind.items() for each in found]
    drifting = [*_drifting(every), *_drifting_rules(by_kind.get(BROKER, []))]
    unsound = {each.what for each in drifting}
    rejected = [entry for state, entry in links if state in _REJECTED]
    rejected += [each for each in _not_ready(every) if each.what not in unsound]
    expiring = (expiry for each in summaries for expiry in _expiring(each))
    return Overview(
        counts={kind: len(found) for kind, found in by_kind.items() if found},
        live_edges=_live_edges(by_kind.get(IDENTITY, [])),
        live_grants=sum(
            each.get("state") in GIVEN
            for policy in by_kind.get(POLICY, [])
            for each in status_of(policy).get("grants") or []
        ),
        half_declared=tuple(entry for state, entry in links if state in _AWAITING),
        rejected=tuple(rejected),
        unvalidated=tuple(_unvalidated(by_kind.get(POLICY, []))),
        disproven=tuple(_disproven(by_kind.get(IDENTITY, []))),
        drifting=tuple(drifting),
        expiring=tuple(sorted(expiring, key=lambda each: (parse_moment(each.at), each.what))),
    )


def _disproven(callees: Iterable[Manifest]) -> Iterator[Entry]:
    for each in callees:
        for proof in disproven(status_of(each)):
            yield Entry(
                what=f"{proof.get('peer')} → {Ref.of(each)}:{proof.get('port')}",
                reason=str(proof.get("probe")),
                message=str(proof.get("evidence") or ""),
            )


def _live_edges(callees: Iterable[Manifest]) -> int:
    """Return the number of live edges to these callees from identities."""
    return sum(
        len(edge.ports)
        for callee in callees
        for edge in live_edges(callee)
        if edge.callee == str(Ref.of(callee))
    )


def _grants(by_kind: Mapping[str, list[Manifest]]) -> Iterator[tuple[str, tuple[str, Entry]]]:
    for policy in by_kind.get(POLICY, []):
        for grant in status_of(policy).get("grants") or []:
            state = grant.get("state", "")
            if state not in _AWAITING | _REJECTED:
                continue
            verb = _VERBS.get(grant.get("action", ""), "consumes")
            what = f"{grant['identity']} {verb} under TopicPolicy {Ref.of(policy)}"
            entry = Entry(
                what=what, reason=grant.get("reason") or state, message=grant.get("message") or ""
            )
            yield what, (state, entry)


def _conditions(manifest: Manifest) -> list[Manifest]:
    return status_of(manifest).get("conditions") or []


def _unvalidated(policies: Iterable[Manifest]) -> Iterator[Entry]:
    for policy in policies:
        condition = unvalidated(policy)
        if condition is not None:
            yield _entry(POLICY, policy, condition)


def _not_ready(every: Iterable[tuple[str, Manifest]]) -> Iterator[Entry]:
    for kind, manifest in every:
        for condition in _conditions(manifest):
            if condition["type"] == "Ready" and condition["status"] == "False":
                yield _entry(kind, manifest, condition)


def _drifting(every: Iterable[tuple[str, Manifest]]) -> Iterator[Entry]:
    for kind, manifest in every:
        found = [
            condition
            for condition in _conditions(manifest)
            if ORIGINS.get(condition["reason"]) is Origin.DRIFT and condition["status"] == "False"
        ]
        if found:
            yield _entry(kind, manifest, found[0])


def _drifting_rules(brokers: Iterable[Manifest]) -> Iterator[Entry]:
    for broker in brokers:
        status = status_of(broker)
        counts = {"missing": status.get("missingGrants"), "surplus": status.get("surplusGrants")}
        told = ", ".join(f"{count} {name} rules" for name, count in counts.items() if count)
        if told:
            yield Entry(what=f"{BROKER} {Ref.of(broker)}", reason="RulesDiffer", message=told)


def _entry(kind: str, manifest: Manifest, condition: Manifest) -> Entry:
    return Entry(
        what=f"{kind} {Ref.of(manifest)}",
        reason=condition["reason"],
        message=condition.get("message", ""),
    )


def _expiring(summary: Summary) -> Iterator[Expiry]:
    end = summary.excepted.until if summary.excepted else None
    match summary:
        case DomainSummary():
            for root in summary.authorities:
                what = f"root {root.fingerprint} of {DOMAIN} {summary.place}"
                yield Expiry(what=what, at=root.not_after, renewed=root.renewed)
        case IdentitySummary():
            place, certificate = f"{IDENTITY} {summary.place}", summary.certificate
            if certificate:
                what = f"certificate of {place}"
                yield Expiry(what=what, at=certificate.not_after, renewed=True)
            if end:
                yield Expiry(what=f"gateway-only trust of {place}", at=end, renewed=False)
            for each in summary.unverified:
                yield Expiry(what=f"unverified peer of {place}", at=each, renewed=False)
        case EndpointSummary() if end:
            what = f"unsigned deliveries of {ENDPOINT} {summary.place}"
            yield Expiry(what=what, at=end, renewed=False)
