"""Namespaces of whose objects Troth has no complete list, so it does not know what they declare.

Troth that watches some namespaces lists each by itself. It may start without the right to list one,
and a namespace may appear while it runs.
"""

from collections.abc import Iterable, Iterator

UNLISTED = "NamespaceUnlisted"
"""Reason why nothing opens in a namespace, and nothing that is open closes."""


class Unlisted:
    """Namespaces that are listed by themselves and have no complete list yet.

    It is empty for Troth that watches all namespaces. Those that do not exist are included.
    """

    def __init__(self) -> None:
        self._apart: frozenset[str] = frozenset()
        self._since: dict[str, int] = {}

    def expect(self, namespaces: Iterable[str]) -> None:
        """Set the namespaces that are listed by themselves. None of them has a list."""
        self._apart = frozenset(namespaces)
        self._since = dict.fromkeys(self._apart, 0)

    def note_created(self, namespace: str, version: int) -> None:
        """Take in that a namespace exists, which was observed at a resource version.

        What was read of a namespace of the same name before does not count.
        """
        if namespace in self._apart:
            self._since[namespace] = version

    def note_listed(self, namespace: str) -> bool:
        """Take in that a namespace's objects are known; return whether they were not before."""
        return self._since.pop(namespace, None) is not None

    def since(self, namespace: str) -> int:
        """Return the resource version up to which an unlisted namespace must be read, or later."""
        return self._since[namespace]

    def __contains__(self, namespace: str) -> bool:
        return namespace in self._since

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._since))


def unlisted_message(namespace: str) -> str:
    """Return that the objects of a namespace are unknown, and what to do."""
    return (
        f"Troth has no complete list of the objects in namespace {namespace}, so nothing changes "
        "there; if this stays, restore the Role and the RoleBinding that the chart creates there"
    )
