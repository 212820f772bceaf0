"""The inputs of the NetworkPolicy compiler, from the inputs of an identity's plan."""

from troth.planning.identity.facts import View
from troth.planning.network.external_peers import pods_in
from troth.planning.network.issuers import issuer_pods
from troth.planning.network.policy_inputs import NetworkClaim, PolicyInputs
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Fault, Manifest


def situation_of(view: View) -> PolicyInputs:
    """Return the inputs of the NetworkPolicy compiler for an identity."""
    return PolicyInputs(
        identity=view.identity,
        edges=view.edges,
        peers=view.registry.identities,
        claims=tuple(
            NetworkClaim(each.spec.network, _issuers_pods(each, view.own_namespace))
            for each in view.governance.claims
        ),
        settled=unsettled(view) is None,
        api_endpoints=view.api_endpoints,
        existing=view.policy,
        reach=view.reach,
        now=view.moment.now,
    )


def _issuers_pods(domain: TrustDomain, own_namespace: str) -> Manifest | None:
    """Return the NetworkPolicy peer of a trust domain's issuer, None without an issuer."""
    pods = issuer_pods(domain)
    return pods_in(own_namespace, pods) if pods is not None else None


def unsettled(view: View) -> Fault | None:
    """Return why nothing may open, None if the identity is settled. Revoked edges still close."""
    if view.domain is None:
        return Fault(view.governance.reason, view.governance.message)
    if view.shared is not None:
        return Fault("SharedIdentity", view.shared.message)
    return None
