"""Namespaces by trust domain."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from troth.trust.declarations.governance import Governance


@dataclass(slots=True)
class Territories:
    """Namespaces by trust domain: those it governs, those it governed until its deletion began, and
    the first that another selects too.

    A trust domain's plan needs them several times, so they are collected once.
    """

    governed: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    contested: dict[str, str] = field(default_factory=dict)


def territories_of(
    namespaces: Iterable[str], governance_of: Callable[[str], Governance]
) -> Territories:
    """Return the territories of all trust domains."""
    found = Territories()
    for namespace in sorted(namespaces):
        governance = governance_of(namespace)
        if governance.domain is not None:
            name = governance.domain.metadata.name
            found.governed.setdefault(name, []).append(namespace)
        elif governance.settled:  # every claim is of a domain that is being deleted
            for claim in governance.claims:
                found.left.setdefault(claim.metadata.name, []).append(namespace)
        elif len(governance.claims) > 1:
            for claim in governance.claims:
                found.contested.setdefault(claim.metadata.name, namespace)
    return found
