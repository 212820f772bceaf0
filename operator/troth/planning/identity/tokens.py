"""Conditions of an identity's tokens: those that its callers need, and those that it requests."""

from collections.abc import Iterator

from troth.planning import verdicts
from troth.planning.identity.claims import audience_fault
from troth.planning.identity.facts import View
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.conditions import Verdict
from troth.trust.declarations.governance import NEVER
from troth.world.facts.objects import Cutoff

ACCEPTED, ISSUED = "TokensAccepted", "TokensIssued"


@fails_closed(unplanned())
def plan_tokens(view: View) -> Part:
    """Return whether callers can get tokens, and whether the identity lacks room for its own."""
    accepts = view.identity.spec.authentication.token is not None
    return Part((*((_accepted(view),) if accepts else ()), *_left_out(view)))


def _accepted(view: View) -> Verdict:
    domain = view.domain
    if domain is None:
        return verdicts.false(ACCEPTED, view.governance.reason, view.governance.message)
    if domain.spec.tokens is None:
        message = (
            f"TrustDomain {domain.metadata.name} issues no tokens, so no caller can get one; add "
            "tokens: {} to it"
        )
        return verdicts.false(ACCEPTED, "TokensNotEnabled", message)
    if fault := audience_fault(view.identity, domain, view.registry):
        return verdicts.false(ACCEPTED, fault.reason, fault.message)
    message = f"tokens of TrustDomain {domain.metadata.name} are accepted"
    return verdicts.true(ACCEPTED, "Accepted", message)


def _left_out(view: View) -> Iterator[Verdict]:
    identity, domain, cutoff = view.identity, view.domain, view.cutoff
    if domain is None or domain.spec.tokens is None or cutoff is None:
        return
    if identity.spec.authentication.certificate is None:
        return
    created = identity.metadata.creation_timestamp or NEVER
    if Cutoff(created, identity.ref.name) >= cutoff:
        namespace = identity.ref.namespace
        message = (
            f"the issuer configuration of TrustDomain {domain.metadata.name} is full, and "
            f"namespace {namespace} uses more than its share, so its newest identities, among them "
            "this one, get no tokens; remove identities, calls or scopes in this namespace, or "
            "divide the trust domain"
        )
        yield verdicts.false(ISSUED, "ShareExceeded", message)
