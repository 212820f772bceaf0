"""Plan of a `TrustDomain`: its authority, bundles, issuer and status."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.leaf import short
from troth.planning import status as verdicts
from troth.planning.certificates.anchors import bundle_text
from troth.planning.owned_objects import FOREIGN_RETRY, differs, is_child, metadata_of
from troth.planning.plan import Plan
from troth.planning.rotation.handover import Handover
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.planning.trust_domain import isolation, watched_namespaces
from troth.planning.trust_domain.authority import Part, copy_removals, plan_authority, plan_rotation
from troth.planning.trust_domain.facts import (
    DomainView,
    KnownDomain,
    NetworkIsolation,
    isolation_of,
)
from troth.planning.trust_domain.plain_root import add_plain
from troth.planning.trust_domain.retired import (
    ends,
    is_full,
    keys_for_events,
    roots_for_events,
    tidy_roots,
)
from troth.planning.trust_domain.root_rotation import due_of
from troth.planning.trust_domain.spiffe_bundles import bundle_files
from troth.planning.trust_domain.tokens import Tokens, plan_tokens, removals
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.rotation.blockers import fitting
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import (
    AuthorityState,
    AuthorityStatus,
    RetiredStatus,
    RotationStatus,
    TokenRotationStatus,
    TrustDomainStatus,
)
from troth.trust.edges.federation import UNCONFINED, unconfined_message
from troth.world.facts.objects import (
    Content,
    KnownAuthority,
    Manifest,
    RetiredKey,
    RetiredRoot,
)

ON_ITS_WAY = frozenset(
    {
        *("CreatingRoot", "Distributing", "WriteRefused"),
        *("CreatingTokenKey", "DistributingTokenKey", "IssuingCertificate", "CompilingView"),
        isolation.PENDING,
    }
)
"""Reasons that pass without anybody's action."""
TERMINATES = (
    "it no longer governs any namespace, so its identities have no edges and get no certificates"
)
"""Consequence of deleting a trust domain, for its status."""


def plan_trust_domain(known: KnownDomain) -> Plan:
    """Return the plan of a trust domain.

    The plan of a deleted domain removes its bundles, its issuer's Secrets, and the copy of a given
    CA's key. Its isolation stays until it is gone. The Secret of a root of Troth's own stays,
    because a deleted key cannot be recovered.
    An unreadable domain is reported, and its last readable spec stays in force.
    """
    if known.unreadable is not None:
        reported = verdicts.unreadable_plan(known.key, known.unreadable, known.moment.now)
        if known.domain is None:
            return reported
        followed = _plan_readable(known)
        return replace(_keeping(reported, followed), steps=followed.steps, due=followed.due)
    return _plan_readable(known)


def _keeping(reported: Plan, followed: Plan) -> Plan:
    """Return the plan that reports an unreadable spec, with what the followed plan observes."""
    kept = ("observedGeneration", "conditions", "readableSpec")
    observed = {name: each for name, each in (followed.status or {}).items() if name not in kept}
    return replace(reported, status={**(reported.status or {}), **observed})


def _plan_readable(known: KnownDomain) -> Plan:
    """Return the plan of a domain's spec, or of its last readable one; None if it is deleted."""
    if known.view is not None:
        return _plan_existing(known, known.view)
    name, written = known.key.ref.name, known.written
    copied = copy_removals(name, written.authority)
    gone = (*_removals(written.bundles), *removals(written.issuer_secrets), *copied)
    plan = Plan(known.key, "", steps=gone)
    if known.domain is None:
        return replace(plan, steps=(*gone, *isolation.removals(name, known.isolation)))
    return _plan_terminating(plan, known.domain, known.isolation, known.moment.now)


def _plan_existing(known: KnownDomain, view: DomainView) -> Plan:
    domain, now = view.domain, view.moment.now
    authority, tokens = plan_authority(view), plan_tokens(view)
    bundles = _plan_bundles(view, tokens)
    isolated = isolation.plan_isolation(domain, known.isolation, now)
    watched = watched_namespaces.judge(domain, view.registry, view.terminating)
    further = (tokens.verdict, isolated.verdict, watched)
    judged = (authority.verdict, bundles.verdict, *(each for each in further if each))
    rotation = plan_rotation(view.rotation)
    plain = add_plain(domain, view.rotation.authority)
    root_step = rotation.step or plain or tidy_roots(view.rotation)
    summary = verdicts.summed_up(judged, ON_ITS_WAY)
    conditions = verdicts.conditions(domain, domain.status.conditions, (*summary, *judged), now)
    dues = (
        *_dues(view, rotation),
        *known.isolation.retries,
        *tokens.dues,
        *ends(view.rotation),
    )
    return Plan(
        known.key,
        domain.metadata.uid,
        steps=(
            *authority.steps,
            *((root_step,) if root_step else ()),
            *bundles.steps,
            *isolated.steps,
            *tokens.steps,
        ),
        status=_status(view, rotation=rotation, tokens=tokens, conditions=conditions),
        previous_status=domain.status.manifest(),
        due=min((due for due in dues if due > now), default=None),
    )


def _plan_terminating(
    gone: Plan, domain: TrustDomain, known: NetworkIsolation, now: datetime
) -> Plan:
    """Return the plan of a domain that is being deleted: it opens nothing, and still isolates."""
    isolated = isolation.plan_isolation(domain, known, now)
    plan = replace(
        gone,
        steps=(*gone.steps, *isolated.steps),
        due=min((due for due in known.retries if due > now), default=None),
    )
    further = (isolated.verdict,) if isolated.verdict is not None else ()
    return verdicts.terminating_plan(plan, domain, domain.status, TERMINATES, now, further=further)


# The bundles


def _plan_bundles(view: DomainView, tokens: Tokens) -> Part:
    """Return the verdict on a domain's bundles, and the steps that write and remove them.

    A new bundle waits for the first token key. A workload that has read one without the key may
    not read it again for `bundle.propagation`, for which the issuer would have to wait.
    """
    type_, domain, now = "BundleDistributed", view.domain, view.moment.now
    if not view.anchors:
        message = "no bundle is written or changed, because the authority cannot be used"
        return Part(verdicts.false(type_, "AuthorityNotReady", message))
    wanted = [each for each in view.bundles if each.ref.namespace not in view.terminating]
    data = {ROOTS: bundle_text(view.anchors), **bundle_files(view)}
    steps: list[Step] = []
    foreign: list[Ref] = []
    missing = False
    for each in wanted:
        ref, seen, fact = each.ref, each.seen, each.fact
        manifest = _config_map(ref, domain, data)
        if (fact is not None and not is_child(fact, domain)) or (
            seen is not None and now < seen + FOREIGN_RETRY
        ):
            foreign.append(ref)
            continue
        missing = missing or fact is None or differs(manifest, fact)
        if fact is not None or not tokens.creates_key:
            steps.append(Apply(manifest))
    steps += _removals(_left_behind(view, {each.ref for each in wanted}))
    return Part(_bundle_verdict(view, foreign, missing=missing), tuple(steps))


def _bundle_verdict(view: DomainView, foreign: list[Ref], *, missing: bool) -> Verdict:
    type_, registry = "BundleDistributed", view.registry
    contested = registry.contested(view.domain.metadata.name)
    if contested is not None:
        governance = registry.governance(contested)
        return verdicts.false(type_, governance.reason, governance.message)
    if foreign:
        message = (
            f"ConfigMap {foreign[0]} is not managed by Troth, so it was not changed; rename or "
            "delete it, or choose another bundle.configMapName"
        )
        return verdicts.false(type_, "Conflict", message)
    for other in view.federated:
        if other.domain.metadata.name in registry.unconfined_domains:
            return verdicts.false(type_, UNCONFINED, unconfined_message(other.domain, "here"))
    fault = next(filter(None, (each.write_fault for each in view.bundles)), None)
    if fault is not None:
        return verdicts.false(type_, fault.reason, fault.message)
    if missing:
        return verdicts.false(type_, "Distributing", "the bundle is being written")
    if is_full(view.rotation):
        message = (
            "every governed namespace has the bundle, but Troth keeps no more retired roots or "
            "token keys for events, so consumers reject events of older ones; rotate less often, "
            "or set a shorter maxAge in TopicPolicies"
        )
        return verdicts.true(type_, "TooManyRetired", message)
    return verdicts.true(type_, "Distributed", "every governed namespace has the bundle")


def _left_behind(view: DomainView, wanted: set[Ref]) -> Iterator[Content]:
    """Yield bundles in namespaces that the domain certainly no longer governs."""
    for fact in view.written.bundles:
        namespace = fact.ref.namespace
        settled = view.registry.governance(namespace).settled
        if fact.ref not in wanted and settled and namespace not in view.terminating:
            yield fact


def _config_map(ref: Ref, domain: TrustDomain, data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(ref, domain),
        "data": data,
    }


def _removals(facts: Iterable[Content]) -> Iterator[Step]:
    for fact in facts:
        yield Remove("ConfigMap", fact.ref, fact.uid)


# The status


def _status(
    view: DomainView, *, rotation: Handover, tokens: Tokens, conditions: list[dict[str, Any]]
) -> dict[str, object]:
    domain, known = view.domain, view.rotation.authority
    if known is not None and known.authority is not None:
        authorities = tuple(_authorities(known))
    else:  # the status is the only record of a lost authority
        authorities = domain.status.authorities
    status = TrustDomainStatus(
        observed_generation=domain.metadata.generation,
        readable_spec=domain.readable_spec,
        isolation=isolation_of(domain),
        authorities=authorities,
        rotation=RotationStatus(phase=rotation.phase, blockers=fitting(rotation.blockers)),
        token_keys=tokens.keys,
        retired_authorities=_retired(roots_for_events(view.rotation)),
        retired_token_keys=_retired(keys_for_events(view.rotation)),
        token_rotation=TokenRotationStatus(
            phase=tokens.rotation.phase, blockers=fitting(tokens.rotation.blockers)
        ),
        watched_namespaces=watched_namespaces.named(view.registry),
    ).manifest()
    status["conditions"] = conditions
    return status


def _retired(records: Iterable[RetiredRoot | RetiredKey]) -> tuple[RetiredStatus, ...]:
    return tuple(
        RetiredStatus(fingerprint=short(each.fingerprint), retired_at=each.retired_at)
        for each in records
    )


def _authorities(known: KnownAuthority) -> Iterator[AuthorityStatus]:
    for slot, state in (
        (known.authority, AuthorityState.ACTIVE),
        (known.prepared, AuthorityState.PREPARED),
        (known.retiring, AuthorityState.RETIRING),
    ):
        if slot is not None:
            yield AuthorityStatus(
                fingerprint=short(slot.fingerprint), state=state, not_after=slot.not_after
            )


def _dues(view: DomainView, rotation: Handover) -> Iterator[datetime]:
    known, now = view.rotation.authority, view.moment.now
    if known is not None and known.authority is not None:
        yield known.authority.not_before
        yield known.authority.not_after
        due = due_of(view.domain, known.authority, view.rotation.rotations, now)
        if due is not None:
            yield due
    given = view.rotation.given
    if given is not None and given.authority is not None:
        yield given.authority.not_before
    if rotation.wait is not None:
        yield now + rotation.wait
    yield from view.retries
