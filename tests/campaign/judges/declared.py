"""Users' declarations, as the operator may see them. Judges use these, not the operator's state.

`History` has each version of the declarations since the last time at rest. The operator may lag
behind by kind, so it may act on any mixture of these versions.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Generic, TypeVar

from tests.builders import Manifest
from tests.networkpolicy import Pod
from tests.oracle import Declared, Opening
from tests.oracle import Place as Identity
from troth.reconcile.rehearsal import Place

DECLARED = (
    *("TrustDomain", "ServiceIdentity", "MessageBroker", "TopicPolicy"),
    *("WebhookEndpoint", "CredentialRotation", "Namespace", "Service", "EndpointSlice"),
)


@dataclass
class View(Declared):
    """One version of the declarations."""

    def opens(self, me: Identity, direction: str, peer: Pod, opening: Opening) -> bool:
        """Return whether an identity's policy may let a peer through."""
        if me not in self.identities or not self.claims(me[0]):
            return False
        if direction == "Ingress":
            return self._enters(me, peer, opening)
        return self._leaves(me, peer, opening)

    def named(self, place: Identity) -> str:
        """Return the SPIFFE ID of a governed identity."""
        domain = self.domains[self.governor(place[0]) or ""]["domain"]
        account = self.identities[place]["workload"]["serviceAccountName"]
        return f"spiffe://{domain}/ns/{place[0]}/sa/{account}"

    def names(self, place: Identity) -> list[str]:
        """Return all names in the certificate of a governed identity."""
        hosts = [f"{each['metadata']['name']}.{place[0]}.svc" for each in self.services_of(place)]
        return [self.named(place), *hosts, *(f"{host}.cluster.local" for host in hosts)]


def view_of(manifests: Iterable[Manifest], now: datetime) -> View:
    view = View.by(list(manifests), now)
    assert isinstance(view, View)
    return view


V = TypeVar("V")


@dataclass
class History:
    """Each version of users' declarations, and the time, since the last time at rest."""

    versions: dict[Place, list[Manifest | None]] = field(default_factory=dict)
    moments: list[datetime] = field(default_factory=list)
    begun: int = 0
    """How often the cluster was at rest."""
    make_view: Callable[[Iterable[Manifest], datetime], View] = view_of

    def begin(self, objects: dict[Place, Manifest], now: datetime) -> None:
        self.versions = {place: [objects[place]] for place in objects if place[0] in DECLARED}
        self.moments = [now]
        self.begun += 1

    def note(self, place: Place, manifest: Manifest | None) -> None:
        if place[0] in DECLARED:
            self.versions.setdefault(place, [None]).append(manifest)

    def passed(self, now: datetime) -> None:
        self.moments = [self.moments[0], now]

    @property
    def mixtures(self) -> int:
        count = 1
        for (kind, _), versions in self.versions.items():
            if kind != "CredentialRotation":
                count *= len(versions)
        return count

    def views(self) -> Iterator[View]:
        """Yield each mixture, the latest first."""
        return (view for view, _ in self.mixed())

    def mixed(self) -> Iterator[tuple[View, list[Manifest]]]:
        """Yield each mixture with its manifests."""
        latest_first = [
            versions[::-1]
            for (kind, _), versions in self.versions.items()
            if kind != "CredentialRotation"
        ]
        for mixture in product(*latest_first):
            declared = [manifest for manifest in mixture if manifest is not None]
            for moment in reversed(self.moments):
                yield self.make_view(declared, moment), declared

    def each(
        self, make: Callable[[View, list[Manifest]], V], *, timeless: bool = False
    ) -> "Memo[V]":
        """Return a memo of `make` for each mixture, which runs it again only after a change.

        If it is `timeless`, `make` runs only once for all moments.
        """
        return Memo(self, make, timeless)

    def rotations_of(self, place: Identity) -> Iterator[Manifest]:
        target = {"kind": "ServiceIdentity", "name": place[1]}
        for (kind, ref), versions in self.versions.items():
            if kind == "CredentialRotation" and ref.namespace == place[0]:
                specs = [manifest["spec"] for manifest in versions if manifest]
                yield from (spec for spec in specs if spec["target"] == target)


def identity_of(owned: Manifest) -> Identity:
    metadata = owned["metadata"]
    return metadata["namespace"], metadata["ownerReferences"][0]["name"]


def is_certified(spec: Manifest) -> bool:
    return "gatewayOnly" not in spec["authentication"]


def wants_certificate(view: View, me: Identity) -> bool:
    if me not in view.identities or view.unsettled(me):
        return False
    return is_certified(view.identities[me])


@dataclass
class Memo(Generic[V]):
    """Results for each mixture of a history."""

    history: History
    make: Callable[[View, list[Manifest]], V]
    timeless: bool
    _state: object = None
    _made: list[V] = field(default_factory=list)

    def __call__(self) -> list[V]:
        history = self.history
        counts = {place: len(versions) for place, versions in history.versions.items()}
        state = counts, history.begun, () if self.timeless else tuple(history.moments)
        if self._state != state:
            self._state = state
            step = len(history.moments) if self.timeless else 1
            mixtures = list(history.mixed())[::step]
            self._made = [self.make(view, declared) for view, declared in mixtures]
        return self._made
