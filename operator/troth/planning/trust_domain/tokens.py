"""Plan of a trust domain's tokens: the issuer's Secrets, its active key, and the verdict on them.

`issuer.configuration` plans separately which tokens the issuer may issue.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from troth.pki.certificates.leaf import short
from troth.pki.tokens.signing import LEEWAY, MAX_LIFETIME
from troth.planning import verdicts
from troth.planning.owned_objects import is_child, metadata_of, rechecks, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.rotation.handover import Handover
from troth.planning.steps.objects import Remove
from troth.planning.steps.signing_keys import CreateTokenKey, UpdateIssuer
from troth.planning.steps.step import Step
from troth.planning.trust_domain.facts import DomainView, RotationView
from troth.planning.trust_domain.issuer.certificate import TYPE
from troth.planning.trust_domain.retired import key_ends, keys_for_events, statuses, tidy_keys
from troth.planning.trust_domain.spiffe_bundles import bundle_file
from troth.planning.trust_domain.token_keys import (
    first_key_wait,
    key_due,
    plan_key_rotation,
    settle_of,
)
from troth.resources.conditions import Truth, Verdict
from troth.resources.references import Ref
from troth.resources.rotation.blockers import fitting
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import AuthorityState, TokenKeyStatus, TokenRotationStatus
from troth.world.facts.objects import REPLACED_AT, Cutoff, Manifest, TokensSecret
from troth.world.facts.owned import OwnedObject
from troth.world.observation.objects import BUNDLE, NEVER

REPLACED = "TokenKeyReplaced"
MAX_NAMED = 5
"""Maximum number of namespaces that a message names."""
FORGOTTEN = MAX_LIFETIME + LEEWAY
"""Longest time for which tokens of a lost key would still have been valid."""


def creates_key(view: DomainView) -> bool:
    """Return whether a key is about to be created, which the API server does not refuse."""
    if view.domain.spec.tokens is None or view.tokens_place.write_fault is not None:
        return False
    return _lacks_key(view)


def _lacks_key(view: DomainView) -> bool:
    """Return whether nothing is at the name of the Secret with the keys."""
    place = view.tokens_place
    return place.fact is None and taken(place, view.domain, view.moment.now) is None


@fails_closed(unplanned(TYPE))
def plan_tokens(view: DomainView, certificate: tuple[Verdict, ...]) -> Part:
    """Return the part that creates, rotates and publishes a domain's token keys.

    Its condition includes the verdict on the issuer's certificate. A domain that issues no tokens
    has no condition, and its issuer's Secrets are removed.
    """
    domain, place, known = view.domain, view.tokens_place, view.rotation.tokens
    rotation = plan_key_rotation(view.rotation)
    status = _status(view.rotation, rotation)
    if domain.spec.tokens is None:
        secrets = view.written.issuer_secrets
        removals = tuple(Remove("Secret", each.ref, each.uid) for each in secrets)
        return Part(steps=removals, status=status)
    part = Part(dues=tuple(_dues(view, rotation)), status=status)
    if _lacks_key(view):
        step = CreateTokenKey(_secret(domain, place.ref, view.moment.now))
        return replace(part, verdicts=(_coming(domain, place),), steps=(step,))
    if known is None or not is_child(known, domain):
        message = (
            f"Secret {place.ref} is not managed by Troth, so it was not changed; rename it or "
            "delete it"
        )
        return replace(part, verdicts=(verdicts.false(TYPE, "Conflict", message),))
    verdict = _verdict(view, known, certificate)
    return replace(part, verdicts=(verdict,), steps=tuple(_own_steps(view, known, rotation)))


def _own_steps(view: DomainView, known: TokensSecret, rotation: Handover) -> Iterator[Step]:
    """Yield the next step on the Secret with the keys.

    There is one step at a time, because each requires the observed resource version. The bundle
    comes first, because an issuer signs only with a key that the bundle publishes.
    """
    bundle = bundle_file(view).encode()
    if view.own_anchors and known.bundle != bundle:
        yield UpdateIssuer(known.ref, known.uid, known.resource_version, {BUNDLE: bundle})
    elif rotation.step is not None:
        yield rotation.step
    elif (tidying := tidy_keys(view.rotation)) is not None:
        yield tidying


def _coming(domain: TrustDomain, place: OwnedObject[TokensSecret]) -> Verdict:
    fault = place.write_fault
    if fault is not None:
        return verdicts.false(TYPE, fault.reason, fault.message)
    if domain.status.token_keys:
        message = (
            f"Secret {place.ref} with the token signing keys is missing; Troth is creating another "
            "key, and verifiers reject tokens of the previous one"
        )
        return verdicts.false(TYPE, "CreatingTokenKey", message)
    return verdicts.false(TYPE, "CreatingTokenKey", "a token signing key is being created")


def _verdict(view: DomainView, known: TokensSecret, certificate: tuple[Verdict, ...]) -> Verdict:
    if known.active is None:
        assert known.fault is not None
        return verdicts.false(TYPE, known.fault.reason, known.fault.message)
    fault = view.tokens_place.write_fault
    if fault is not None:
        return verdicts.false(TYPE, fault.reason, fault.message)
    for each in certificate:
        if each.status is not Truth.TRUE:
            return each
    if not known.view and _propagates(view, known):
        message = (
            "workloads may not have read the token signing key yet, so the issuer waits for "
            "bundle.propagation before it signs"
        )
        return verdicts.false(TYPE, "DistributingTokenKey", message)
    if not known.view or not known.bundle:
        return verdicts.false(TYPE, "CompilingView", "the issuer configuration is being compiled")
    if known.narrowed:
        message = (
            f"the issuer configuration is too large for Secret {known.ref} or for the issuer, so "
            f"the newest identities of {_namespaces(known.cutoffs)} get no tokens; remove edges or "
            "scopes there, or divide the trust domain"
        )
        return verdicts.false(TYPE, "ViewTooLarge", message)
    if view.moment.now < _forgotten_at(known):
        message = (
            f"Secret {known.ref} was missing, so Troth created another key; verifiers reject "
            "tokens of the previous one, and callers get new ones within minutes"
        )
        return verdicts.true(TYPE, REPLACED, message)
    return verdicts.true(TYPE, "Active", "the issuer can sign tokens")


def _propagates(view: DomainView, known: TokensSecret) -> bool:
    """Return whether workloads may not have read the first token key yet."""
    settle = settle_of(view.domain, view.registry)
    return first_key_wait(known, view.rotation.token_key.bundles, settle, view.moment) > timedelta(
        0
    )


def _namespaces(cutoffs: Mapping[str, Cutoff]) -> str:
    """Return the namespaces that use more than their share, the first of many."""
    names = sorted(cutoffs)
    if len(names) == 1:
        return f"namespace {names[0]}, which uses more than its share,"
    more = f" and {len(names) - MAX_NAMED} others" if len(names) > MAX_NAMED else ""
    listed = ", ".join(names[:MAX_NAMED])
    return f"the namespaces that use more than their share ({listed}{more})"


def _forgotten_at(known: TokensSecret) -> datetime:
    """Return until when the status reports that a lost key was replaced."""
    if known.replaced_at is None:
        return datetime.min.replace(tzinfo=UTC)
    return known.replaced_at + FORGOTTEN


def _status(view: RotationView, rotation: Handover) -> dict[str, Any]:
    status: dict[str, Any] = {
        "token_rotation": TokenRotationStatus(
            phase=rotation.phase, blockers=fitting(rotation.blockers)
        ),
        "retired_token_keys": statuses(keys_for_events(view)),
    }
    if view.domain.spec.tokens is None:
        status["token_keys"] = ()
    elif view.own_tokens is not None:  # the status is the only record of lost keys
        status["token_keys"] = tuple(_statuses(view.own_tokens))
    return status


def _statuses(known: TokensSecret) -> Iterator[TokenKeyStatus]:
    for key, state in (
        (known.active, AuthorityState.ACTIVE),
        (known.prepared, AuthorityState.PREPARED),
        (known.retiring, AuthorityState.RETIRING),
    ):
        if key is not None:
            yield TokenKeyStatus(fingerprint=short(key.fingerprint), state=state)


def _dues(view: DomainView, rotation: Handover) -> Iterator[datetime]:
    known, now = view.rotation.own_tokens, view.moment.now
    if known is not None and known.active is not None:
        yield key_due(view.domain, known.active, view.rotation.rotations, now)
        yield _forgotten_at(known)
    if rotation.wait is not None:
        yield now + rotation.wait
    yield from rechecks(view.tokens_place)
    yield from key_ends(view.rotation)


def _secret(domain: TrustDomain, ref: Ref, now: datetime) -> Manifest:
    """Return the Secret without its keys; an annotation says when it replaced a lost one."""
    replaced = format_time(now) if domain.status.token_keys else NEVER
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {**metadata_of(ref, domain), "annotations": {REPLACED_AT: replaced}},
    }
