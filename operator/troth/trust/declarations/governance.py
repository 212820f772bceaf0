"""Governance: the trust domain that governs a namespace."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.selectors import matches


@dataclass(frozen=True, slots=True)
class Governance:
    """Trust domain that governs a namespace, or the reason why none does.

    `settled` is False while this cannot be determined until a person corrects something. Meanwhile
    nothing opens and nothing that is open closes. `claims` are all domains that select the
    namespace.
    """

    domain: TrustDomain | None
    reason: str
    message: str
    settled: bool = True
    claims: tuple[TrustDomain, ...] = ()


def govern(
    namespace: str,
    labels: Mapping[str, str] | None,
    domains: Mapping[str, TrustDomain],
    invalid: Collection[str],
) -> Governance:
    """Return the governance of a namespace with these labels.

    `labels` are None if the namespace does not exist. `invalid` has the names of unreadable
    TrustDomains.
    """
    if labels is None:
        return Governance(None, "NamespaceMissing", f"namespace {namespace} does not exist")
    claims = tuple(
        domain
        for _, domain in sorted(domains.items())
        if matches(domain.spec.namespace_selector, labels)
    )
    if len(claims) > 1:
        claimants = _listed(domain.metadata.name for domain in claims)
        return Governance(
            None,
            "NamespaceOverlap",
            f"namespace {namespace} is selected by the TrustDomains {claimants}; change a "
            "namespaceSelector or the namespace's labels so that exactly one selects it",
            settled=False,
            claims=claims,
        )
    if invalid:
        broken = _listed(sorted(invalid))
        return Governance(
            None,
            "TrustDomainInvalid",
            f"TrustDomain {broken} cannot be read and may select namespace {namespace}; correct "
            "it or delete it",
            settled=False,
            claims=claims,
        )
    if not claims:
        return Governance(
            None,
            "NoTrustDomain",
            f"no TrustDomain selects namespace {namespace}; label the namespace so that a "
            "namespaceSelector selects it",
        )
    domain = claims[0]
    if domain.metadata.deletion_timestamp is not None:
        return Governance(
            None,
            "TrustDomainTerminating",
            f"TrustDomain {domain.metadata.name} is being deleted and no longer governs "
            f"namespace {namespace}; label the namespace so that another TrustDomain selects it",
            claims=claims,
        )
    return Governance(domain, "Governed", "", claims=claims)


def _listed(items: Iterable[str]) -> str:
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
