"""Namespaces by trust domain."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from troth.trust.declarations.governance import Governance


@dataclass(slots=True)
class Territories:
    """Namespaces by trust domain, each sorted.

    `governed` are those that it governs. `left` are those that it governed until its deletion
    began, and that only domains select that are being deleted. `contested` is the first namespace
    that another domain selects too.
    """

    governed: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    contested: dict[str, str] = field(default_factory=dict)


def territories(
    namespaces: Iterable[str], governance_of: Callable[[str], Governance]
) -> Territories:
    """Return the namespaces of every trust domain."""
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
