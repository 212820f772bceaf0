"""The namespaces that Troth watches: all, or those that it is installed for.

Of other namespaces it knows the names and labels, and which brokers and policies are being deleted.
No trust domain governs them, so nothing is issued or opened there, and whatever they declare has no
effect.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from troth.resources.metadata import Resource
from troth.resources.references import Ref

NOT_WATCHED = "NamespaceNotWatched"
"""Reason why nothing governs a namespace that Troth does not watch."""
_ADVICE = "add it to the chart value namespaces"


@dataclass(frozen=True, slots=True)
class Watched:
    """Namespaces that Troth watches; None for all."""

    names: frozenset[str] | None = None

    @classmethod
    def of(cls, own_namespace: str, names: Iterable[str]) -> "Watched":
        """Return the given namespaces and Troth's own; every namespace if none is given."""
        given = frozenset(names)
        return cls(given | {own_namespace} if given else None)

    @property
    def everywhere(self) -> bool:
        """Whether Troth watches every namespace."""
        return self.names is None

    def __contains__(self, namespace: str) -> bool:
        return self.names is None or namespace in self.names

    def reads(self, namespace: str) -> bool:
        """Return whether Troth reads objects there; "" is where cluster-scoped ones are."""
        return not namespace or namespace in self

    def missing(self, kind: type[Resource], ref: Ref, advice: str) -> str:
        """Return why a resource is not known, and what to do: `advice` if it does not exist."""
        if ref.namespace in self:
            return f"{kind.__name__} {ref} does not exist; {advice}"
        return f"{kind.__name__} {ref} has no effect, because {not_watched(ref.namespace)}"


EVERYWHERE = Watched()


def not_watched(namespace: str) -> str:
    """Return that Troth does not watch a namespace, and what to do."""
    return f"Troth does not watch namespace {namespace}; {_ADVICE}"
