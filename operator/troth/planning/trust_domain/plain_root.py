"""The plain certificate of a root that an older version created without one."""

from troth.planning.owned_objects import is_child
from troth.planning.steps.authorities import AddPlain
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import KnownAuthority


def add_plain(domain: TrustDomain, known: KnownAuthority | None) -> AddPlain | None:
    """Return the step that adds the plain certificate of the active root, None if it has one.

    It waits for nothing: verifiers accept every leaf before and after. Without it a root of an
    older version would reject its own domain's leaves in some libraries until its rotation.
    """
    if known is None or known.authority is None or not is_child(known.secret, domain):
        return None
    secret, active = known.secret, known.authority
    if secret.roots is not None or not active.confined or active.anchors != active.confined:
        return None  # a given CA, an unconfined root, or a root that has both certificates
    return AddPlain(
        secret.ref,
        secret.uid,
        secret.resource_version,
        trust_domain=domain.spec.domain,
        authority=active.fingerprint,
    )
