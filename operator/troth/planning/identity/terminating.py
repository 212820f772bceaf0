"""The plan of a `ServiceIdentity` that is being deleted while a finalizer still holds it.

The identity no longer has edges, so its NetworkPolicy denies all traffic of its pods, and its peer
list has no peers. Its certificate stays as it is.
"""

from troth.documents.identity.reading import parsed
from troth.documents.identity.writing import Peers, identity_document
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS
from troth.planning import verdicts
from troth.planning.identity.facts import TerminatingView
from troth.planning.identity.network import OBSERVING, PENDING
from troth.planning.identity.network import TYPE as NETWORK
from troth.planning.identity.secret.updates import TYPE as CERTIFICATE
from troth.planning.identity.secret.updates import public_update
from troth.planning.network.compiler import deny_all
from troth.planning.owned_objects import (
    is_child,
    metadata_of,
    policy_manifest,
    rechecks,
    taken,
)
from troth.planning.parts import Part, assemble, ending, fails_closed, unplanned
from troth.planning.plan import Plan
from troth.planning.reasons.table import TERMINATING
from troth.planning.steps.certificates import UpdatePublic
from troth.planning.steps.objects import Apply, removal
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import Fault, IdentitySecret
from troth.world.keys import Key

DENIED = verdicts.true(NETWORK, "Denied", "the NetworkPolicy denies all traffic of its pods")
NOBODY = Peers((), {}, {}, {}, {})


def plan_terminating_identity(key: Key, view: TerminatingView) -> Plan:
    """Return the plan that keeps an identity closed until it is deleted."""
    parts = (
        plan_denial(view),
        ending(view.identity, _closed(view.identity)),
        plan_empty_document(view),
    )
    return assemble(key, view.identity, parts, view.moment.now)


def _closed(identity: ServiceIdentity) -> str:
    if identity.spec.enforcement is Enforcement.OBSERVE:
        return "its edges are closed, but with enforcement: Observe no policy denies its traffic"
    return "its edges are closed, and all traffic of its pods is denied"


@fails_closed(unplanned(NETWORK))
def plan_denial(view: TerminatingView) -> Part:
    """Return the part of the policy that denies all traffic, including exceptions.

    If there is no policy and no trust domain claims the namespace, none is created.
    """
    identity, policy, dues = view.identity, view.policy.fact, rechecks(view.policy)
    if identity.spec.enforcement is Enforcement.OBSERVE:
        return Part((OBSERVING,), removal("NetworkPolicy", policy, identity), dues)
    conflict = verdicts.faulty(NETWORK, taken(view.policy, identity, view.moment.now))
    if conflict is not None:
        return Part((conflict,), dues=dues)
    governance = view.governance
    if policy is None and not governance.claims:
        return Part((verdicts.false(NETWORK, governance.reason, governance.message),), dues=dues)
    verdict = PENDING if policy is None else DENIED
    manifest = policy_manifest(view.policy.ref, identity, deny_all(identity).spec)
    failed = verdicts.faulty(NETWORK, view.policy.write_fault)
    return Part((failed or verdict,), (Apply(manifest),), dues)


@fails_closed(unplanned(beside=(CERTIFICATE,)))
def plan_empty_document(view: TerminatingView) -> Part:
    """Return the part of the Secret: its peer list names nobody, and the certificate stays."""
    identity, secret = view.identity, view.secret.fact
    if secret is not None and not is_child(secret, identity):
        secret = None
    return Part(
        beside=(_certificate_verdict(secret, view.secret.write_fault),),
        steps=_without_peers(identity, secret),
        status={
            "certificate": identity.status.certificate if secret and secret.leaf else None,
            **dict.fromkeys(("edges", "brokers", "claims"), ()),
            "unlisted_edges": None,
        },
    )


def _without_peers(
    identity: ServiceIdentity, secret: IdentitySecret | None
) -> tuple[UpdatePublic, ...]:
    """Return the update that removes all callers, callees and issuers from the peer list.

    The certificate and its roots stay.
    """
    if secret is None:
        return ()
    own_id = parsed(secret.public.get(IDENTITY_JSON, "")).get("spiffeID")
    if not isinstance(own_id, str):
        return ()
    kept = {name: text for name, text in secret.public.items() if name == ROOTS}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(secret.ref, identity),
        "stringData": {**kept, IDENTITY_JSON: identity_document(identity, own_id, NOBODY)},
    }
    return public_update(secret, manifest, "")


def _certificate_verdict(secret: IdentitySecret | None, fault: Fault | None) -> Verdict:
    """Return the condition of the certificate, or why the peer list could not be written."""
    failed = verdicts.faulty(CERTIFICATE, fault)
    if failed is not None:
        return failed
    message = "certificates are no longer issued or renewed"
    if secret is not None and secret.leaf is not None:
        message += (
            f"; the one in Secret {secret.ref} expires at {format_time(secret.leaf.not_after)}"
        )
    return verdicts.false(CERTIFICATE, TERMINATING, message)
