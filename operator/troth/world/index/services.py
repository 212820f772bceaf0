"""Index of Services, for the DNS names of the pods behind them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.selectors import subsumed
from troth.world.facts.objects import Manifest, Service
from troth.world.observation import objects as observe


@dataclass(slots=True)
class Services:
    """Existing Services, by namespace and name."""

    _by_namespace: dict[str, dict[str, Service]] = field(default_factory=dict)

    def take(self, ref: Ref, manifest: Manifest | None) -> tuple[Service, ...]:
        """Take in a Service; return its previous and current state, nothing if it is unchanged."""
        here = self._by_namespace.setdefault(ref.namespace, {})
        before = here.pop(ref.name, None)
        after = observe.service(manifest) if manifest else None
        if after is not None:
            here[ref.name] = after
        if before == after:
            return ()
        return tuple(each for each in (before, after) if each is not None)

    def reaching(self, namespace: str, pods: LabelSelector) -> Iterator[str]:
        """Yield the names of the Services that select only these pods."""
        for service in self.leading_to(namespace, pods):
            yield service.ref.name

    def leading_to(self, namespace: str, pods: LabelSelector) -> Iterator[Service]:
        """Yield the Services that select only these pods."""
        for service in self._by_namespace.get(namespace, {}).values():
            if reaches(service, pods):
                yield service


def reaches(service: Service, pods: LabelSelector) -> bool:
    """Return whether a Service selects only these pods."""
    return subsumed(pods, service.selector)
