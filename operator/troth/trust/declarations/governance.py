"""Governance: the trust domain that governs a namespace."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from troth.resources.metadata import is_terminating
from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.unlisted import UNLISTED, unlisted_message
from troth.trust.declarations.watched import NOT_WATCHED, not_watched
from troth.trust.selectors import matches

NEVER = datetime.max.replace(tzinfo=UTC)
"""Time of an event that has not happened, or whose time is unknown: later than all others."""


@dataclass(frozen=True, slots=True)
class UnreadDomain:
    """Parts of an unreadable TrustDomain of which no earlier spec is known.

    `selector` is its namespaceSelector and `spiffe_domain` its `domain`. Each is None if it cannot
    be read either.
    """

    selector: LabelSelector | None = None
    spiffe_domain: str | None = None


NOTHING_READ = UnreadDomain()


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

    @property
    def possible(self) -> tuple[TrustDomain, ...] | None:
        """Trust domains of which one governs the namespace once it is settled, None if any may.

        A domain that is being deleted never governs again.
        """
        if self.domain is not None:
            return (self.domain,)
        if self.settled:
            return ()
        return None if self.unread else _staying(self.claims)


def govern(
    namespace: str,
    labels: Mapping[str, str] | None,
    domains: Mapping[str, TrustDomain],
    unread: Mapping[str, UnreadDomain],
    *,
    watched: bool = True,
) -> Governance:
    """Return the governance of a namespace with these labels.

    `labels` are None if the namespace does not exist. A domain among `unread` takes no namespace
    from the only readable one that selects it.
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
        name for name, each in unread.items() if each.selector and matches(each.selector, labels)
    )
    if claims and not selecting and not _staying(claims):
        return _terminating(namespace, claims)
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
    perhaps = [*selecting, *sorted(name for name, each in unread.items() if each.selector is None)]
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
    return Governance(claims[0], "Governed", "", claims=claims)


def without_list(namespace: str, found: Governance) -> Governance:
    """Return the governance of a namespace whose objects are not listed.

    No domain governs it until they are, and what is open stays open.
    """
    if found.domain is None:
        return found
    message = unlisted_message(namespace)
    return replace(found, domain=None, reason=UNLISTED, message=message, settled=False)


def _staying(claims: Iterable[TrustDomain]) -> tuple[TrustDomain, ...]:
    return tuple(each for each in claims if not is_terminating(each))


def _terminating(namespace: str, claims: tuple[TrustDomain, ...]) -> Governance:
    """Return the governance of a namespace that only deleted domains select.

    No outcome makes one of them govern again, so a conflict between them suspends nothing.
    """
    names = _listed([each.metadata.name for each in claims])
    message = (
        f"TrustDomain {names} is being deleted and no longer governs namespace {namespace}; label "
        "the namespace so that another TrustDomain selects it"
    )
    if len(claims) > 1:
        message = (
            f"TrustDomains {names} are being deleted and no longer govern namespace {namespace}; "
            "label the namespace so that another TrustDomain selects it"
        )
    return Governance(None, "TrustDomainTerminating", message, claims=claims)


def taken_by(
    domain: TrustDomain,
    domains: Mapping[str, TrustDomain],
    has_root: Callable[[TrustDomain], bool],
) -> TrustDomain | None:
    """Return the TrustDomain that has the SPIFFE trust domain instead of this one, None for none.

    One that has a root has it, then the older object, then the one with the smaller name. A second
    authority of a SPIFFE trust domain (SPIFFE-ID, section 2.1) could issue its identities.
    """

    def rank(each: TrustDomain) -> tuple[bool, datetime, str]:
        created = each.metadata.creation_timestamp or NEVER
        return not has_root(each), created, each.metadata.name

    mine = rank(domain)
    first = (
        each
        for each in domains.values()
        if each.spec.domain == domain.spec.domain and rank(each) < mine
    )
    return min(first, key=rank, default=None)


def perhaps_taken_by(domain: TrustDomain, unread: Mapping[str, UnreadDomain]) -> str | None:
    """Return the first unreadable TrustDomain that may have the SPIFFE trust domain, None for none.

    It may have created a root, whatever its age is.
    """
    possible = (None, domain.spec.domain)
    return min(
        (name for name, each in unread.items() if each.spiffe_domain in possible), default=None
    )


def federate(first: TrustDomain, second: TrustDomain) -> bool:
    """Return whether two trust domains federate: both list each other.

    Two of one SPIFFE trust domain never do. The roots of each could issue identities of the other,
    and its keys would replace the other's.
    """
    named_alike = first.spec.domain == second.spec.domain
    return not named_alike and lists(first, second) and lists(second, first)


def lists(here: TrustDomain, there: TrustDomain) -> bool:
    """Return whether a trust domain lists another one under `federatesWith`."""
    return any(reference.name == there.metadata.name for reference in here.spec.federates_with)


def _listed(items: Iterable[str]) -> str:
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
