"""Judge of every state of every policy: it is as narrow as the declarations at that moment.

No write opens an undeclared edge, and no policy is removed while its identity is declared. A
revoked edge may stay open until it is closed, but does not open again. At the end nothing
undeclared is open.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tests.campaign.judges.declared import View, identity_of, view_of
from tests.campaign.judges.reach import Ground, Way
from tests.cluster.person import Manifest
from tests.cluster.witness import Sight
from tests.networkpolicy import Pod
from tests.oracle import Opening, Place

POLICY = "NetworkPolicy"
DECLARED = ("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint")
PORTS: tuple[Opening, ...] = (
    *(("TCP", port) for port in (53, 443, 8443, 9443, 10_000)),
    *(("UDP", port) for port in (53, 8443)),
)
RESOLVERS = {"kube-system": {"kubernetes.io/metadata.name": "kube-system"}}
ELSEWHERE = [
    Pod("kube-system", {"k8s-app": "kube-dns"}, "10.99.0.1"),
    Pod("kube-system", {"app": "stranger"}, "10.99.0.2"),
    Pod("", {}, "203.0.113.9"),
    Pod("", {}, "192.0.2.9"),
]


@dataclass
class Openings:
    """The declarations at a moment, and the policies that exist."""

    now: datetime
    pods: list[Pod]
    """One pod for each identity that will ever exist, and a stranger in each namespace."""
    objects: dict[tuple[str, Place], Manifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ground = Ground(self.pods, [*self.pods, *ELSEWHERE], PORTS)

    def see(self, sight: Sight) -> Iterator[str]:
        """Record one state of one object; yield each violation."""
        manifest = sight.manifest
        metadata = manifest["metadata"]
        key = manifest["kind"], (metadata.get("namespace", ""), metadata["name"])
        before = self.objects.pop(key, None)
        if sight.type != "DELETED":
            self.objects[key] = manifest
        if manifest["kind"] == POLICY:
            yield from self._faults(before, None if sight.type == "DELETED" else manifest)

    def left_open(self) -> Iterator[str]:
        """Yield the undeclared edges that are open; unsettled identities are not judged."""
        view = self._view()
        for (kind, _), policy in self.objects.items():
            if kind == POLICY and _guards(policy, view):
                for way in self._open(policy) - self._declared(policy, view):
                    yield f"{self._ground.describe(identity_of(policy), way)} is open"

    def _faults(self, before: Manifest | None, after: Manifest | None) -> Iterator[str]:
        view = self._view()
        if before and after and _generation(after) > _generation(before) + 1:
            yield f"a state of the policy of {identity_of(after)} was not seen"
        if after is not None:
            opened = self._open(after) - self._open(before)
            for way in opened - self._declared(after, view):
                yield f"{self._ground.describe(identity_of(after), way)} was opened"
        elif before is not None and _guards(before, view):
            yield f"the policy of {identity_of(before)} was removed"

    def _view(self) -> View:
        declared = [each for (kind, _), each in self.objects.items() if kind in DECLARED]
        return view_of(declared, self.now)

    def _open(self, policy: Manifest | None) -> set[Way]:
        spaces = {
            place[1]: each["metadata"]["labels"]
            for (kind, place), each in self.objects.items()
            if kind == "Namespace"
        }
        return self._ground.opened(policy, {**RESOLVERS, **spaces})

    def _declared(self, policy: Manifest, view: View) -> set[Way]:
        if not _guards(policy, view):
            return set()
        return self._ground.declared(view, identity_of(policy))


def _generation(policy: Manifest) -> int:
    """Return how often the object's spec has changed."""
    return int(policy["metadata"]["generation"])


def _guards(policy: Manifest, view: View) -> bool:
    """Return whether the policy's identity is declared and governed by one trust domain."""
    me = identity_of(policy)
    return me in view.identities and not view.unsettled(me)
