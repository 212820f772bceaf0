"""Everything at once: people, tampering, faults, crashes, clocks and two copies, in any order.

A hypothesis state machine. What must hold is in `tests/campaign/judging.py`, and is looked at
whenever something is written and whenever all is quiet; a failure prints the shortest script of
rules that shows it. `make campaign` tries many more than `make test`.
"""

import copy
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from pydantic import ValidationError

from tests import builders, strategies
from tests.builders import HOUR, OWN, Manifest, stamp
from tests.campaign.cluster import KINDS, ours
from tests.campaign.machine import Machine, kinds
from tests.campaign.stage import MINUTE, Stage
from tests.strategies import NAMESPACES, PORTS, Wish, campaign, more
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity
from troth.world.facts import MANAGED_BY
from troth.world.observe import KEY, LEAF, PEERS, ROOTS

DOMAINS = ("red", "blue")
PLACES = (("north", "a"), ("north", "b"), ("south", "a"), ("south", "c"), ("east", "d"))
CHILDREN = {"Secret": "-identity", "NetworkPolicy": "-troth"}

places = st.sampled_from(PLACES)


@st.composite
def identities(draw: st.DrawFn) -> Manifest:
    """An identity, with some of whom it agrees on an edge, if the other says so too."""
    place = draw(places)
    wishes = []
    for other in draw(st.lists(places, max_size=4)):
        caller, callee = (place, other) if draw(st.booleans()) else (other, place)
        ports = tuple(draw(strategies.port_names))
        wishes.append(Wish(caller, callee, ports, called=True, accepted=True))
    return draw(strategies.identities(place, wishes))


@st.composite
def domains(draw: st.DrawFn, name: str) -> Manifest:
    manifest = draw(strategies.domains(name))
    manifest["spec"] |= {
        "bundle": {"propagation": "1m"},
        "certificates": {"lifetime": draw(st.sampled_from(("24h", "6h")))},
        "authority": {"selfManaged": {"lifetime": draw(st.sampled_from(("8760h", "60h")))}},
    }
    return manifest


def strip_labels(manifest: Manifest) -> None:
    del manifest["metadata"]["labels"][MANAGED_BY]


def open_wide(policy: Manifest) -> None:
    policy["spec"].setdefault("ingress", []).append({})


def close(policy: Manifest) -> None:
    policy["spec"].pop("ingress", None)
    policy["spec"].pop("egress", None)


def without(name: str) -> Callable[[Manifest], None]:
    def change(child: Manifest) -> None:
        child.get("data", {}).pop(name, None)

    change.__name__ = f"without({name!r})"
    return change


TAMPERING = {
    "Secret": (strip_labels, *map(without, (LEAF, KEY, ROOTS, PEERS))),
    "ConfigMap": (strip_labels, without(ROOTS)),
    "NetworkPolicy": (strip_labels, open_wide, close),
}


class Campaign(Machine[Stage]):
    """People and their clusters, without brokers."""

    watched = KINDS

    def __init__(self) -> None:
        super().__init__(Stage())

    @initialize(
        declared=st.lists(identities(), max_size=5), red=domains("red"), blue=domains("blue")
    )
    def begin(self, declared: list[Manifest], red: Manifest, blue: Manifest) -> None:
        spaces = [
            builders.namespace(name, domain=label)
            for name, label in zip(NAMESPACES, ("red", "red", "blue"), strict=True)
        ]
        elsewhere = builders.endpoint_slice("172.16.0.1", port=9090)
        self.open(*spaces, red, blue, *declared, elsewhere)

    # What people do

    @rule(manifest=identities())
    def declare_identity(self, manifest: Manifest) -> None:
        if self.there("Namespace", "", manifest["metadata"]["namespace"]):
            self.declare(manifest)

    @rule(caller=places, callee=places, port=st.sampled_from(sorted(PORTS)))
    def agree(self, caller: tuple[str, str], callee: tuple[str, str], port: str) -> None:
        """Both declare one edge more, if both can."""
        objects = self.stage.server.objects
        ends = [objects.get(("ServiceIdentity", Ref(*place))) for place in (caller, callee)]
        one, other = (copy.deepcopy(end) for end in ends)
        if one and other and caller != callee:
            one["spec"]["calls"].append(builders.call(callee[1], port, namespace=callee[0]))
            other["spec"]["accepts"].append(builders.accept(caller[1], port, namespace=caller[0]))
            for each in (one, other):
                if not self.faulty(each):
                    self.declare(each)

    @staticmethod
    def faulty(manifest: Manifest) -> bool:
        """Whether the API server would refuse it."""
        try:
            ServiceIdentity.parse(manifest)
        except ValidationError:
            return True
        return False

    @rule(place=places, other=st.sampled_from(("a", "b", "c", "d")))
    def share(self, place: tuple[str, str], other: str) -> None:
        """Give an identity the pods of another, or give them back."""
        manifest = copy.deepcopy(self.stage.server.objects.get(("ServiceIdentity", Ref(*place))))
        if manifest:
            manifest["spec"]["workload"]["podSelector"] = {"matchLabels": {"app": other}}
            self.declare(manifest)

    @rule(name=st.sampled_from(DOMAINS), claimed=st.sampled_from((DOMAINS, ("red",), ("blue",))))
    def claim(self, name: str, claimed: tuple[str, ...]) -> None:
        """Have a domain select the namespaces of others too, or no longer."""
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

    @rule(manifest=st.one_of(*map(strategies.namespaces, NAMESPACES)))
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

    # What nobody should do

    @rule(data=st.data(), kind=st.sampled_from(("Secret", "ConfigMap", "NetworkPolicy")))
    def tamper(self, data: st.DataObject, kind: str) -> None:
        async def story(place: Place) -> None:
            manifest = copy.deepcopy(self.stage.server.objects[place])
            data.draw(st.sampled_from(TAMPERING[kind]))(manifest)
            await self.stage.tamper(manifest)

        self.with_one_of(data, kind, story)

    @rule(data=st.data(), kind=st.sampled_from(("Secret", "ConfigMap", "NetworkPolicy")))
    def delete_a_child(self, data: st.DataObject, kind: str) -> None:
        self.with_one_of(data, kind, self.stage.drop)

    @rule(manifest=identities(), kind=st.sampled_from(tuple(CHILDREN)), declared=st.booleans())
    def squat(self, manifest: Manifest, kind: str, declared: bool) -> None:
        """Put a foreign object where one of Troth's will be wanted, perhaps at once."""
        space, name = (manifest["metadata"][part] for part in ("namespace", "name"))
        name += CHILDREN[kind]
        if self.there("Namespace", "", space) and not self.there(kind, space, name):
            selector = {"podSelector": {"matchLabels": {"app": "nobody"}}}
            content = {"data": {}} if kind == "Secret" else {"spec": selector}
            metadata = {"name": name, "namespace": space}
            self.run(self.stage.tamper({"kind": kind, "metadata": metadata, **content}))
            if declared:
                self.declare(manifest)

    def with_one_of(
        self, data: st.DataObject, kind: str, story: Callable[[Place], Coroutine[Any, Any, None]]
    ) -> None:
        """Do something to an object, if there is one; of children those of Troth's."""
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

    # What fails

    @rule(behind=st.integers(0, 3))
    def restart(self, behind: int) -> None:
        self.run(self.stage.replace(self.stage.copies[0], behind))

    @rule(kind=kinds, behind=st.integers(0, 3))
    def list_again(self, kind: str, behind: int) -> None:
        self.stage.copies[0].list(kind, self.stage.behind(kind, behind))
        self.run(self.stage.work())


TestCampaign = Campaign.TestCase
TestCampaign.settings = campaign(more(2))
