"""Plan of a trust domain's authority: create or adopt it, check it, and rotate it in time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import short
from troth.planning import verdicts
from troth.planning.certificates.anchors import bundle_text
from troth.planning.certificates.leaf import lifetime_fault
from troth.planning.owned_objects import is_child, metadata_of, rechecks, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.rotation.handover import Handover
from troth.planning.steps.authorities import AdoptAuthority, CreateRoot, DropSlots
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.planning.trust_domain.facts import DomainView, Rivals, RotationView
from troth.planning.trust_domain.plain_root import add_plain
from troth.planning.trust_domain.retired import root_ends, roots_for_events, statuses, tidy_roots
from troth.planning.trust_domain.root_rotation import due_of, next_step
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.rotation.blockers import fitting
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import (
    AuthorityState,
    AuthorityStatus,
    RotationPhase,
    RotationStatus,
)
from troth.world.facts.objects import (
    OWNER_KIND,
    OWNER_NAME,
    AuthoritySecret,
    KnownAuthority,
    Manifest,
)
from troth.world.observation.objects import NEXT_KEY, NEXT_LEAF, NEXT_ROOTS

TYPE = "AuthorityReady"


@fails_closed(unplanned(TYPE))
def plan_authority(view: DomainView) -> Part:
    """Return the part that creates or adopts an authority if there is none.

    Troth always signs with the CA in a Secret of its own. It copies a given CA there, so that a
    replacement can take over step by step. It never writes the given Secret.
    """
    known, status = view.rotation.authority, {}
    if known is not None and known.authority is not None:
        status["authorities"] = tuple(_statuses(known))
    # else the status is the only record of a lost authority
    return replace(_begun(view), dues=tuple(_dues(view)), status=status)


def _begun(view: DomainView) -> Part:
    domain, known = view.domain, view.rotation.authority
    if known is not None and not is_child(known.secret, domain):
        return Part((_foreign(view.authority_place.ref),))
    fault = taken_fault(domain, view.rotation.rivals) or _given_fault(view, known)
    if fault is not None:
        return Part((fault,))
    if known is not None:
        return Part((_lifetime_verdict(domain) or _verdict(known, view.moment.now),))
    return _begin(view)


def _statuses(known: KnownAuthority) -> Iterator[AuthorityStatus]:
    for slot, state in (
        (known.authority, AuthorityState.ACTIVE),
        (known.prepared, AuthorityState.PREPARED),
        (known.retiring, AuthorityState.RETIRING),
    ):
        if slot is not None:
            yield AuthorityStatus(
                fingerprint=short(slot.fingerprint), state=state, not_after=slot.not_after
            )


def _dues(view: DomainView) -> Iterator[datetime]:
    known, given = view.rotation.authority, view.rotation.given
    if known is not None and known.authority is not None:
        yield known.authority.not_before
        yield known.authority.not_after
    if given is not None and given.authority is not None:
        yield given.authority.not_before
    yield from rechecks(view.authority_place)


def copy_removals(domain: str, secret: AuthoritySecret | None) -> Iterator[Step]:
    """Yield the steps that remove the copied key of a given CA when its domain is deleted.

    Its owner has the original. A key of Troth's own stays: it cannot be recovered.
    """
    owner = "TrustDomain", domain
    if secret is None or (secret.labels.get(OWNER_KIND), secret.labels.get(OWNER_NAME)) != owner:
        return
    if secret.roots is not None:
        yield Remove("Secret", secret.ref, secret.uid)
    elif secret.prepared_roots is not None:
        slots = (NEXT_LEAF, NEXT_KEY, NEXT_ROOTS)
        yield DropSlots(secret.ref, secret.uid, secret.resource_version, slots)


@fails_closed(unplanned())
def plan_root(view: RotationView) -> Part:
    """Return the part that rotates the root, and completes and tidies its Secret."""
    known, now, rotation = view.authority, view.moment.now, plan_rotation(view)
    step = rotation.step or add_plain(view.domain, known) or tidy_roots(view)
    dues = [*root_ends(view)]
    if known is not None and known.authority is not None:
        due = due_of(view.domain, known.authority, view.rotations, now)
        dues += [due] if due is not None else []
    if rotation.wait is not None:
        dues.append(now + rotation.wait)
    phase, blockers = rotation.phase, fitting(rotation.blockers)
    status = {
        "rotation": RotationStatus(phase=phase, blockers=blockers),
        "retired_authorities": statuses(roots_for_events(view)),
    }
    return Part(steps=(step,) if step is not None else (), dues=tuple(dues), status=status)


def plan_rotation(view: RotationView) -> Handover:
    """Return the state of the authority's rotation, and its next step."""
    known = view.own_authority
    if known is None or known.authority is None:
        return Handover(RotationPhase.IDLE)
    taken = taken_fault(view.domain, view.rivals)
    obstacle = taken.message if taken is not None else None
    return next_step(view, known, obstacle=obstacle)


def taken_fault(domain: TrustDomain, rivals: Rivals) -> Verdict | None:
    """Return the verdict if another TrustDomain has the SPIFFE trust domain, or may have it.

    An unreadable one prevents the first root only: it takes nothing from a domain that has one.
    """
    holder = rivals.holder
    if holder is None:
        if rivals.unreadable is None:
            return None
        message = (
            f"TrustDomain {rivals.unreadable} cannot be read and may have the SPIFFE trust domain "
            f"{domain.spec.domain}; correct it or delete it"
        )
        return verdicts.false(TYPE, "TrustDomainInvalid", message)
    message = (
        f"the SPIFFE trust domain {domain.spec.domain} belongs to TrustDomain "
        f"{holder.metadata.name}; delete this TrustDomain and create it with another spec.domain"
    )
    return verdicts.false(TYPE, "Conflict", message)


def _foreign(ref: Ref) -> Verdict:
    message = f"Secret {ref} is not managed by Troth, so it was not changed; rename it or delete it"
    return verdicts.false(TYPE, "Conflict", message)


def _given_fault(view: DomainView, known: KnownAuthority | None) -> Verdict | None:
    """Return what is wrong with the given CA, None if it is usable or no CA is given."""
    reference, now = view.domain.spec.authority.secret_ref, view.moment.now
    if reference is None:
        return None
    given = view.rotation.given
    if given is None:
        ref = Ref(view.own_namespace, reference.name)
        message = (
            f"Secret {ref} does not exist; create it with tls.crt, tls.key and, for its root, "
            "ca.crt"
        )
        return verdicts.false(TYPE, "SecretMissing", message)
    if given.fault is not None:
        message = f"Secret {given.secret.ref}: {given.fault.message}"
        return verdicts.false(TYPE, given.fault.reason, message)
    coming = given.authority
    if known is None or coming is None or coming == known.authority or coming.valid_at(now):
        return None
    if now < coming.not_before:
        message = (
            f"Secret {given.secret.ref}: the new CA is valid from "
            f"{format_time(coming.not_before)}, and Troth switches to it then"
        )
        return verdicts.false(TYPE, "AuthorityNotYetValid", message)
    message = (
        f"Secret {given.secret.ref}: the new CA has expired, so Troth does not switch to it; "
        "replace it"
    )
    return verdicts.false(TYPE, "AuthorityExpired", message)


def _begin(view: DomainView) -> Part:
    """Create or adopt an authority, unless the trust domain had another one before.

    Troth never replaces a lost authority by itself, because every issued leaf chains to it.
    """
    domain, place, given = view.domain, view.authority_place, view.rotation.given
    ref = place.ref
    if _there_was_another(view, given.authority if given else None):
        message = (
            f"Secret {ref} with the authority's key is missing; restore it from a backup. To "
            "start over instead, delete this TrustDomain, wait until its bundles are deleted, "
            "and create it again"
        )
        return Part((verdicts.false(TYPE, "AuthorityMissing", message),))
    if taken(place, domain, view.moment.now) is not None:
        return Part((_foreign(ref),))
    step: CreateRoot | AdoptAuthority
    if given is not None:
        step, coming = _adopt(domain, given, ref), ("Adopting", "the provided CA is being adopted")
    else:
        step, coming = _create(domain, ref), ("CreatingRoot", "a root is being created")
    fault = place.write_fault
    if fault is not None:
        return Part((verdicts.false(TYPE, fault.reason, fault.message),), (step,))
    return Part((verdicts.false(TYPE, *coming),), (step,))


def _there_was_another(view: DomainView, given: Authority | None) -> bool:
    """Return whether leaves may exist that chain to another authority than the given one.

    The status records the authority. If a restore lost the status, Troth's own namespace does: the
    issuer's certificate, and the bundle if the domain governs that namespace. Other namespaces are
    no evidence, because anyone who can create a ConfigMap there could prevent the first root.
    """
    recorded = view.domain.status.authorities
    active = [each for each in recorded if each.state is AuthorityState.ACTIVE]
    if active:
        return given is None or active[0].fingerprint != short(given.fingerprint)
    leaf = view.issuer.leaf if view.issuer is not None else None
    if leaf is not None and (given is None or leaf.authority_key_id != given.subject_key_id):
        return True
    wanted = bundle_text(given.anchors) if given is not None else None
    return any(
        bundle.ref.namespace == view.own_namespace and bundle.data.get(ROOTS) != wanted
        for bundle in view.written.bundles
    )


def _adopt(domain: TrustDomain, given: KnownAuthority, ref: Ref) -> AdoptAuthority:
    assert given.authority is not None
    return AdoptAuthority(
        manifest=_secret(domain, ref),
        trust_domain=domain.spec.domain,
        source=given.secret.ref,
        authority=given.authority.fingerprint,
    )


def _create(domain: TrustDomain, ref: Ref) -> CreateRoot:
    settings = domain.spec.authority.self_managed
    assert settings is not None
    return CreateRoot(
        manifest=_secret(domain, ref),
        trust_domain=domain.spec.domain,
        algorithm=settings.key_algorithm,
        lifetime=settings.lifetime,
        confined=settings.confined,
    )


def _secret(domain: TrustDomain, ref: Ref) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(ref, domain),
    }


def _lifetime_verdict(domain: TrustDomain) -> Verdict | None:
    return verdicts.faulty(TYPE, lifetime_fault(domain.spec.certificates.lifetime, domain))


def _verdict(known: KnownAuthority, now: datetime) -> Verdict:
    if known.authority is None:
        assert known.fault is not None
        message = f"Secret {known.secret.ref}: {known.fault.message}"
        return verdicts.false(TYPE, known.fault.reason, message)
    if now < known.authority.not_before:
        return verdicts.false(TYPE, "AuthorityNotYetValid", "the authority is not yet valid")
    if now >= known.authority.not_after:
        message = "the authority has expired and issues nothing; replace it"
        return verdicts.false(TYPE, "AuthorityExpired", message)
    return verdicts.true(TYPE, "Active", "the authority issues certificates")
