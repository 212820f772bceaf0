"""Governance: the trust domain that governs a namespace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.watched import NOT_WATCHED, not_watched
from troth.trust.selectors import matches


@dataclass(frozen=True, slots=True)
class Governance:
    """Trust domain that governs a namespace, or the reason why none does.

    `settled` is False while this cannot be determined until a person corrects something. Meanwhile
    nothing opens and nothing that is open closes. `claims` are all readable domains that select the
    namespace. `unread` is whether an unreadable one keeps the governance from being settled.
    """

    domain: TrustDomain | None
    reason: str
    message: str
    settled: bool = True
    claims: tuple[TrustDomain, ...] = ()
    unread: bool = False


def govern(
    namespace: str,
    labels: Mapping[str, str] | None,
    domains: Mapping[str, TrustDomain],
    unread: Mapping[str, LabelSelector | None],
    *,
    watched: bool = True,
) -> Governance:
    """Return the governance of a namespace with these labels.

    `labels` are None if the namespace does not exist. `unread` has the unreadable TrustDomains of
    which no earlier spec is known, each with its namespaceSelector, or None if that cannot be read
    either. Such a domain takes no namespace from the only readable one that selects it.
    """
    if not watched:
        return Governance(None, NOT_WATCHED, not_watched(namespace))
    if labels is None:
        return Governance(None, "NamespaceMissing", f"namespace {namespace} does not exist")
    claims = tuple(
        domain
        for _, domain in sorted(domains.items())
        if matches(domain.spec.namespace_selector, labels)
    )
    selecting = sorted(
        name for name, selector in unread.items() if selector and matches(selector, labels)
    )
    if len(claims) + bool(claims and selecting) > 1:
        names = sorted([*(domain.metadata.name for domain in claims), *selecting])
        return Governance(
            None,
            "NamespaceOverlap",
            f"namespace {namespace} is selected by the TrustDomains {_listed(names)}; change a "
            "namespaceSelector or the namespace's labels so that exactly one selects it",
            settled=False,
            claims=claims,
            unread=bool(selecting),
        )
    perhaps = [*selecting, *sorted(name for name, selector in unread.items() if selector is None)]
    if perhaps and not claims:
        selects = "selects" if selecting else "may select"
        return Governance(
            None,
            "TrustDomainInvalid",
            f"TrustDomain {_listed(perhaps)} cannot be read and {selects} namespace {namespace}; "
            "correct it or delete it",
            settled=False,
            unread=True,
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


def taken_by(domain: TrustDomain, domains: Mapping[str, TrustDomain]) -> TrustDomain | None:
    """Return the TrustDomain that had the name of a SPIFFE trust domain before this one.

    The older object has it, then the one with the smaller name. None if nobody else has it.
    A second authority of a SPIFFE trust domain (SPIFFE-ID, section 2.1) could issue its identities.
    """
    older = [
        other
        for other in domains.values()
        if other.spec.domain == domain.spec.domain and _age(other) < _age(domain)
    ]
    return min(older, key=_age, default=None)


def _age(domain: TrustDomain) -> tuple[str, str]:
    """Return the order of creation; what is unknown is the youngest."""
    created = domain.metadata.creation_timestamp
    return created.isoformat() if created else "~", domain.metadata.name


def _listed(items: Iterable[str]) -> str:
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
