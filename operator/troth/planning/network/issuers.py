"""Names of token issuers.

One issuer serves one trust domain. It runs in Troth's own namespace and has a certificate of that
domain, so that callers verify its SPIFFE ID and not only its DNS name.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from troth.pki.spiffe import spiffe_id
from troth.planning.certificates.anchors import federated
from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.registry import Registry

ACCOUNT = "troth-issuer"
"""ServiceAccount of every issuer."""
PORT = 8443
"""Port of an issuer's Service, on which its pods listen too."""


def issuer_url(domain: TrustDomain, own_namespace: str) -> str:
    """Return the `iss` of a trust domain's tokens; the domain must issue tokens."""
    assert domain.spec.tokens is not None
    return domain.spec.tokens.issuer or f"https://{_service(domain, own_namespace)}:{PORT}"


def issuer_id(domain: TrustDomain, own_namespace: str) -> str:
    """Return the SPIFFE ID of a trust domain's issuer."""
    return spiffe_id(domain.spec.domain, own_namespace, ACCOUNT)


def issuer_hosts(domain: TrustDomain, own_namespace: str) -> tuple[str, ...]:
    """Return the DNS names of a trust domain's issuer, each once."""
    service = _service(domain, own_namespace)
    named = issuer_host(domain, own_namespace)
    return tuple(dict.fromkeys([service, f"{service}.cluster.local", named]))


def issuer_host(domain: TrustDomain, own_namespace: str) -> str:
    """Return the DNS name in the URL of a trust domain's issuer."""
    host = urlsplit(issuer_url(domain, own_namespace)).hostname
    assert host is not None
    return host


def issuing(domain: TrustDomain, registry: Registry) -> Iterator[TrustDomain]:
    """Yield the trust domains whose tokens a domain's identities accept.

    They are the domain itself and the domains it federates with, if they issue tokens.
    """
    for each in (domain, *federated(domain, registry)):
        if each.spec.tokens is not None:
            yield each


def issuers_known(
    domain: TrustDomain, registry: Registry, own_namespace: str
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the URLs and the SPIFFE IDs of the issuers that a domain's identities trust.

    Both are keyed by the issuer's trust domain.
    """
    known = sorted(issuing(domain, registry), key=lambda each: each.spec.domain)
    return (
        {each.spec.domain: issuer_url(each, own_namespace) for each in known},
        {each.spec.domain: issuer_id(each, own_namespace) for each in known},
    )


def issuer_pods(domain: TrustDomain) -> LabelSelector | None:
    """Return the selector of an issuer's pods in Troth's namespace, None without an issuer."""
    if domain.spec.tokens is None:
        return None
    return LabelSelector(
        match_labels={
            "app.kubernetes.io/name": "troth",
            "app.kubernetes.io/component": "issuer",
            "troth.dev/trust-domain": domain.metadata.name,
        }
    )


def _service(domain: TrustDomain, own_namespace: str) -> str:
    return f"{domain.metadata.name}-issuer.{own_namespace}.svc"
