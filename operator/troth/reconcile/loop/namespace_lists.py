"""Namespaces that are listed by themselves: which of them are completely known."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from troth.cluster.watching.informer import Informer
from troth.trust.declarations.registry import Registry

POLL = 0.5
"""Time in seconds between two looks while the operator runs."""

log = structlog.get_logger()


class NamespaceLists:
    """Reports the namespaces of which all informers have a complete list."""

    def __init__(
        self,
        registry: Registry,
        required_in: Callable[[str], Collection[Informer]],
        on_listed: Callable[[str], None],
    ) -> None:
        """`required_in` returns the informers of a namespace whose lists are needed."""
        self._registry = registry
        self._required_in = required_in
        self._on_listed = on_listed

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            for namespace in self.look():
                log.info("namespace listed; planning begins there", namespace=namespace)

    def look(self, *, starting: bool = False) -> Sequence[str]:
        """Report the namespaces whose objects became known; return them.

        A namespace that appeared while the operator runs must have been read since then: its
        informers may still have the list of an earlier namespace of that name. While it is
        `starting`, no list is that old.
        """
        unlisted = self._registry.unlisted
        listed = [
            each
            for each in self._registry.unlisted_ones()
            if self._is_listed(each, 0 if starting else unlisted.since(each))
        ]
        for namespace in listed:
            self._on_listed(namespace)
        return listed

    def _is_listed(self, namespace: str, since: int) -> bool:
        return all(
            each.synced.is_set() and each.position >= max(since, 1)
            for each in self._required_in(namespace)
        )
