"""The plan of a `ServiceIdentity` that is being deleted while a finalizer still holds it.

The identity no longer has edges, so its NetworkPolicy denies all traffic of its pods, and its peer
list has no peers. Its certificate stays as it is.
"""

from collections.abc import Iterator
from datetime import datetime

from troth.documents.secret_keys import ROOTS
from troth.planning import status as verdicts
from troth.planning.identity.facts import TerminatingView
from troth.planning.identity.layer import Layer, removal, unwritten
from troth.planning.identity.secret.certificate import public_update
from troth.planning.identity.secret.document import Peers, current_document, identity_document
from troth.planning.network.compiler import deny_all
from troth.planning.owned_objects import (
    FOREIGN_RETRY,
    is_child,
    metadata_of,
    policy_manifest,
    taken,
)
from troth.planning.plan import Plan
from troth.planning.steps.certificates import UpdatePublic
from troth.planning.steps.objects import Apply
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.identity.status import ServiceIdentityStatus
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import Fault, IdentitySecret
from troth.world.keys import Key
from troth.world.observation.objects import PEERS

ON_ITS_WAY = frozenset({verdicts.TERMINATING, "PolicyPending", "WriteRefused"})
"""Reasons that pass without manual action on the identity."""
NOBODY = Peers((), {}, {}, {}, {})


def plan_terminating_identity(key: Key, view: TerminatingView) -> Plan:
    """Return the plan that keeps an identity closed until it is deleted."""
    identity, secret, now = view.identity, view.secret.fact, view.moment.now
    if secret is not None and not is_child(secret, identity):
        secret = None
    network = _plan_network(view)
    summary = verdicts.summed_up([network.verdict, _terminating(identity)], ON_ITS_WAY)
    judged = (_certificate_verdict(secret, view.secret.write_fault), network.verdict)
    status = ServiceIdentityStatus(
        observed_generation=identity.metadata.generation,
        spiffe_id=identity.status.spiffe_id,
        certificate=identity.status.certificate if secret is not None and secret.leaf else None,
        gateway_trusted_since=identity.status.gateway_trusted_since,
    ).manifest()
    status["conditions"] = verdicts.conditions(
        identity, identity.status.conditions, (*summary, *judged), now
    )
    return Plan(
        key,
        identity.metadata.uid,
        steps=(*network.steps, *_without_peers(identity, secret)),
        status=status,
        previous_status=identity.status.manifest(),
        due=min((due for due in _dues(view) if due > now), default=None),
    )


def _terminating(identity: ServiceIdentity) -> Verdict:
    if identity.spec.enforcement is Enforcement.OBSERVE:
        closed = "its edges are closed, but with enforcement: Observe no policy denies its traffic"
    else:
        closed = "its edges are closed, and all traffic of its pods is denied"
    return verdicts.termination(identity, closed)


def _plan_network(view: TerminatingView) -> Layer:
    """Return the layer of the policy that denies all traffic, including exceptions.

    If there is no policy and no trust domain claims the namespace, none is created.
    """
    type_, identity, policy = "NetworkEnforced", view.identity, view.policy.fact
    if identity.spec.enforcement is Enforcement.OBSERVE:
        verdict = verdicts.true(
            type_,
            "Observing",
            "the NetworkPolicy is planned and reported, but enforcement: Observe does not write it",
        )
        return Layer(verdict, tuple(removal("NetworkPolicy", policy, identity)))
    conflict = taken(view.policy, identity, view.moment.now)
    if conflict is not None:
        return Layer(verdicts.false(type_, conflict.reason, conflict.message))
    governance = view.governance
    if policy is None and not governance.claims:
        return Layer(verdicts.false(type_, governance.reason, governance.message))
    verdict = (
        verdicts.false(type_, "PolicyPending", "the NetworkPolicy is being written")
        if policy is None
        else verdicts.true(type_, "Denied", "the NetworkPolicy denies all traffic of its pods")
    )
    manifest = policy_manifest(view.policy.ref, identity, deny_all(identity).spec)
    barred = unwritten(type_, view.policy.write_fault)
    return Layer(barred or verdict, (Apply(manifest),))


def _without_peers(
    identity: ServiceIdentity, secret: IdentitySecret | None
) -> tuple[UpdatePublic, ...]:
    """Return the update that removes all callers, callees and issuers from the peer list.

    The certificate and its roots stay.
    """
    if secret is None:
        return ()
    own_id = current_document(secret.public.get(PEERS, "")).get("spiffeID")
    if not isinstance(own_id, str):
        return ()
    kept = {name: text for name, text in secret.public.items() if name == ROOTS}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(secret.ref, identity),
        "stringData": {**kept, PEERS: identity_document(identity, own_id, NOBODY)},
    }
    return public_update(secret, manifest, "")


def _certificate_verdict(secret: IdentitySecret | None, fault: Fault | None) -> Verdict:
    """Return the condition of the certificate, or why the peer list could not be written."""
    type_ = "CertificateIssued"
    barred = unwritten(type_, fault)
    if barred is not None:
        return barred
    message = "certificates are no longer issued or renewed"
    if secret is not None and secret.leaf is not None:
        message += (
            f"; the one in Secret {secret.ref} expires at {format_time(secret.leaf.not_after)}"
        )
    return verdicts.false(type_, verdicts.TERMINATING, message)


def _dues(view: TerminatingView) -> Iterator[datetime]:
    if view.policy.seen is not None:
        yield view.policy.seen + FOREIGN_RETRY
