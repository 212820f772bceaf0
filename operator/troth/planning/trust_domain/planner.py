"""Plan of a `TrustDomain`: its authority, bundles, isolation, issuer and status."""

from dataclasses import replace

from troth.planning import verdicts
from troth.planning.parts import Part, assemble, ending
from troth.planning.plan import Plan
from troth.planning.steps.objects import Remove
from troth.planning.trust_domain import authority, bundles, isolation, tokens, watched_namespaces
from troth.planning.trust_domain.facts import DomainView, KnownDomain
from troth.planning.trust_domain.issuer import certificate
from troth.resources.trust_domain.spec import TrustDomain

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
        return _reporting(reported, _plan_readable(known))
    return _plan_readable(known)


def _reporting(reported: Plan, followed: Plan) -> Plan:
    """Return the plan that reports an unreadable spec, with what the followed plan observes."""
    kept = ("observedGeneration", "conditions", "readableSpec")
    observed = {name: each for name, each in (followed.status or {}).items() if name not in kept}
    return replace(
        reported,
        steps=followed.steps,
        status={**(reported.status or {}), **observed},
        due=followed.due,
        errors=followed.errors,
    )


def _plan_readable(known: KnownDomain) -> Plan:
    """Return the plan of a domain's spec, or of its last readable one; None if it is deleted."""
    if known.view is not None:
        return _plan_existing(known, known.view)
    if known.domain is not None:
        return _plan_terminating(known, known.domain)
    isolated = isolation.removals(known.key.ref.name, known.isolation)
    return Plan(known.key, "", steps=(*_gone(known).steps, *isolated))


def _plan_existing(known: KnownDomain, view: DomainView) -> Plan:
    domain, now = view.domain, view.moment.now
    issuer = certificate.plan_issuer(view)
    parts = (
        authority.plan_authority(view),
        authority.plan_root(view.rotation),
        bundles.plan_bundles(view),
        isolation.plan_isolation(domain, known.isolation, now),
        tokens.plan_tokens(view, issuer.verdicts),
        replace(issuer, verdicts=()),  # `plan_tokens` has judged it
        watched_namespaces.plan_watched(view),
        Part(status={"readable_spec": domain.readable_spec}),
    )
    return assemble(known.key, domain, parts, now)


def _plan_terminating(known: KnownDomain, domain: TrustDomain) -> Plan:
    """Return the plan of a domain that is being deleted: it opens nothing, and still isolates."""
    now = known.moment.now
    isolated = isolation.plan_isolation(domain, known.isolation, now)
    parts = (
        _gone(known),
        replace(isolated, verdicts=(), beside=isolated.verdicts, status={}),
        ending(domain, TERMINATES),
    )
    return assemble(known.key, domain, parts, now)


def _gone(known: KnownDomain) -> Part:
    """Return the part that removes what a deleted domain leaves, except its isolation."""
    written = known.written
    return Part(
        steps=(
            *(Remove("ConfigMap", each.ref, each.uid) for each in written.bundles),
            *(Remove("Secret", each.ref, each.uid) for each in written.issuer_secrets),
            *authority.copy_removals(known.key.ref.name, written.authority),
        )
    )
