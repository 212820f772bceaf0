"""Users of any campaign with identities, and tampering with owned objects."""

import copy
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests import builders, strategies
from tests.builders import HOUR, OWN, Manifest, stamp
from tests.campaign.cluster import ours
from tests.campaign.machine import Machine, S
from tests.campaign.stages.stage import MINUTE
from tests.strategies import NAMESPACES
from troth.documents.secret_keys import IDENTITY_JSON, KEY, LEAF, ROOTS
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.trust.declarations.trust_records import RECORD_PREFIX
from troth.world.facts.objects import MANAGED_BY

DOMAINS = ("red", "blue")
PLACES = (("north", "a"), ("north", "b"), ("south", "a"), ("south", "c"), ("east", "d"))
CHILDREN = ("Secret", "ConfigMap", "NetworkPolicy")

places = st.sampled_from(PLACES)
children = st.sampled_from(CHILDREN)
Change = Callable[[Manifest], None]


@st.composite
def domains(draw: st.DrawFn, name: str) -> Manifest:
    manifest = draw(strategies.domains(name))
    manifest["spec"] |= {
        "domain": f"{name}.example",  # immutable, and its own, so that each has a root
        "bundle": {"propagation": "1m"},
        "certificates": {"lifetime": draw(st.sampled_from(("24h", "6h")))},
        "authority": {"selfManaged": {"lifetime": draw(st.sampled_from(("8760h", "60h")))}},
    }
    return manifest


def spaces() -> list[Manifest]:
    """Draw the initial namespaces."""
    return [
        builders.namespace(name, domain=label)
        for name, label in zip(NAMESPACES, ("red", "red", "blue"), strict=True)
    ]


def strip_labels(manifest: Manifest) -> None:
    del manifest["metadata"]["labels"][MANAGED_BY]


def open_wide(policy: Manifest) -> None:
    policy["spec"].setdefault("ingress", []).append({})


def close(policy: Manifest) -> None:
    policy["spec"].pop("ingress", None)
    policy["spec"].pop("egress", None)


def without(name: str) -> Change:
    def change(child: Manifest) -> None:
        child.get("data", {}).pop(name, None)

    change.__name__ = f"without({name!r})"
    return change


TAMPERING: Mapping[str, tuple[Change, ...]] = {
    "Secret": (strip_labels, *map(without, (LEAF, KEY, ROOTS, IDENTITY_JSON))),
    "ConfigMap": (strip_labels, without(ROOTS)),
    "NetworkPolicy": (strip_labels, open_wide, close),
}


class PeopleMachine(Machine[S]):
    """Trust domains, namespaces and identities, their clocks, and strangers."""

    spaces: ClassVar[st.SearchStrategy[Manifest]] = st.one_of(
        *map(strategies.namespaces, NAMESPACES)
    )

    # Users

    @rule(place=places, other=st.sampled_from(("a", "b", "c", "d")))
    def share(self, place: tuple[str, str], other: str) -> None:
        """Give an identity the pods of another, or its own again."""
        manifest = copy.deepcopy(self.stage.server.objects.get(("ServiceIdentity", Ref(*place))))
        if manifest:
            manifest["spec"]["workload"]["podSelector"] = {"matchLabels": {"app": other}}
            self.declare(manifest)

    @rule(name=st.sampled_from(DOMAINS), claimed=st.sampled_from((DOMAINS, ("red",), ("blue",))))
    def claim(self, name: str, claimed: tuple[str, ...]) -> None:
        """Let a domain also select the namespaces of others, or no longer."""
        manifest = copy.deepcopy(self.stage.server.objects.get(("TrustDomain", Ref("", name))))
        if manifest:
            wanted = {"key": "domain", "operator": "In", "values": list(claimed)}
            manifest["spec"]["namespaceSelector"] = {"matchExpressions": [wanted]}
            self.declare(manifest)

    @rule(place=places, collected=st.booleans())
    def delete_identity(self, place: tuple[str, str], collected: bool) -> None:
        self.run(self.stage.drop(("ServiceIdentity", Ref(*place)), collected=collected))

    @rule(manifest=st.one_of(*map(domains, DOMAINS)))
    def declare_domain(self, manifest: Manifest) -> None:
        self.declare(manifest)

    @rule(name=st.sampled_from(DOMAINS))
    def delete_domain(self, name: str) -> None:
        self.run(self.stage.drop(("TrustDomain", Ref("", name))))

    @rule(manifest=st.runner().flatmap(lambda it: it.spaces))
    def label_namespace(self, manifest: Manifest) -> None:
        self.declare(manifest)

    @rule(name=st.sampled_from(NAMESPACES))
    def delete_namespace(self, name: str) -> None:
        inside = [place for place in self.stage.server.objects if place[1].namespace == name]
        self.run(self.stage.drop(*inside, ("Namespace", Ref("", name))))

    @rule(place=places, every=st.sampled_from((None, "30m", "4h")), minutes=st.integers(-5, 5))
    def rotate_certificate(self, place: tuple[str, str], every: str | None, minutes: int) -> None:
        if self.there("Namespace", "", place[0]):
            spec = {"requestedAt": self.in_(minutes)} | ({"every": every} if every else {})
            self.declare(builders.rotation("ServiceIdentity", place[1], place[0], **spec))

    @rule(domain=st.sampled_from(DOMAINS), minutes=st.integers(-5, 5))
    def rotate_root(self, domain: str, minutes: int) -> None:
        spec = {"requestedAt": self.in_(minutes)}
        self.declare(builders.rotation("TrustDomain", domain, OWN, **spec))

    @rule(data=st.data())
    def take_a_rotation_back(self, data: st.DataObject) -> None:
        self.with_one_of(data, "CredentialRotation", self.stage.drop)

    def there(self, kind: str, *ref: str) -> bool:
        return (kind, Ref(*ref)) in self.stage.server.objects

    def in_(self, minutes: int) -> str:
        return stamp(self.stage.clock.now() + minutes * MINUTE)

    # Tampering

    @rule(data=st.data(), kind=children)
    def tamper(self, data: st.DataObject, kind: str) -> None:
        async def story(place: Place) -> None:
            manifest = copy.deepcopy(self.stage.server.objects[place])
            data.draw(st.sampled_from(self.tampering(manifest)))(manifest)
            await self.stage.tamper(manifest)

        self.with_one_of(data, kind, story)

    def tampering(self, child: Manifest) -> tuple[Change, ...]:
        """Return the possible changes to an owned object.

        A record of gateway-only trust that was tampered with may close its identity, and the oracle
        knows of none. tests/planning/identity/test_exceptions.py has those cases.
        """
        if child["metadata"]["name"].startswith(RECORD_PREFIX):
            return (without(ROOTS),)
        return TAMPERING[child["kind"]]

    @rule(data=st.data(), kind=children)
    def delete_a_child(self, data: st.DataObject, kind: str) -> None:
        self.with_one_of(data, kind, self.stage.drop)

    def squat_at(self, kind: str, space: str, name: str) -> bool:
        """Put a foreign object at a free name; return whether the name was free."""
        if not self.there("Namespace", "", space) or self.there(kind, space, name):
            return False
        selector = {"podSelector": {"matchLabels": {"app": "nobody"}}}
        content = {"spec": selector} if kind == "NetworkPolicy" else {"data": {}}
        metadata = {"name": name, "namespace": space}
        self.run(self.stage.tamper({"kind": kind, "metadata": metadata, **content}))
        return True

    def with_one_of(
        self, data: st.DataObject, kind: str, story: Callable[[Place], Coroutine[Any, Any, None]]
    ) -> None:
        """Apply a function to a random object of a kind, if there is one; only to owned objects.

        A CredentialRotation need not be owned.
        """
        objects = self.stage.server.objects
        found = [
            place
            for place in sorted(objects)
            if place[0] == kind
            and (kind == "CredentialRotation" or ours(objects[place]))
            and (kind != "Secret" or place[1].namespace != OWN)
        ]
        if found:
            self.run(story(data.draw(st.sampled_from(found))))

    # Time

    @rule(length=st.sampled_from((MINUTE, 10 * MINUTE, HOUR, 5 * HOUR, 20 * HOUR)))
    def live(self, length: timedelta) -> None:
        self.run(self.stage.live(length, steps=10))

    @rule(by=st.sampled_from((-HOUR, -5 * MINUTE, 5 * MINUTE, HOUR, 30 * HOUR)))
    def set_the_clock(self, by: timedelta) -> None:
        self.run(self.stage.set_clock(by))

    # Faults

    @rule(behind=st.integers(0, 3))
    def restart(self, behind: int) -> None:
        self.run(self.stage.replace(self.stage.copies[0], behind))
