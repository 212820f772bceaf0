"""Judge of a field walk: no write opens or accepts more than the declarations of that moment.

It is the campaign's judge (`tests/campaign/judges`) on the ground of the walk's declarations.
"""

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import ClassVar

from tests.builders import Manifest
from tests.campaign.judges.declared import History, View
from tests.campaign.judges.reach import Ground, Namespaces, Way, opened_undeclared
from tests.campaign.judges.secrets import accepted_undeclared
from tests.messaging_oracle import Brokers, Operation
from tests.networkpolicy import Pod, selects
from tests.oracle import Opening
from tests.oracle import Place as Identity
from tests.reconcile.fields import DECLARED
from troth.documents.secret_keys import IDENTITY_JSON
from troth.reconcile.rehearsal import Place
from troth.world.facts.objects import OWNER_KIND

APPS = sorted(
    {
        each["spec"]["workload"]["podSelector"]["matchLabels"]["app"]
        for each in DECLARED
        if each["kind"] == "ServiceIdentity"
    }
)
TIERS = ("a", "c", None)
OPENINGS: list[Opening] = [
    *(("TCP", port) for port in (443, 5353, 8080, 8443, 8444, 9000, 9001, 9092, 9093, 9443)),
    *(("UDP", port) for port in (53, 5353, 8443, 9000)),
]


def _pods() -> Iterator[Pod]:
    """Yield a pod of each identity, and a stranger in each namespace."""
    number = 0
    for each in DECLARED:
        metadata = each["metadata"]
        if each["kind"] == "ServiceIdentity":
            labels = {"app": metadata["name"], "tier": "a"}
            yield Pod(metadata["namespace"], labels, f"10.2.0.{(number := number + 1)}")
        if each["kind"] == "Namespace":
            yield Pod(metadata["name"], {"app": "other"}, f"10.2.0.{(number := number + 1)}")


ELSEWHERE = [
    Pod("dns", {"app": "dns", "tier": "a"}, "10.3.0.1"),
    Pod("kube-system", {"k8s-app": "kube-dns"}, "10.3.0.2"),
    Pod("monitoring", {"app": "prometheus", "tier": "a"}, "10.3.0.3"),
    Pod("ingress", {"app": "proxy", "tier": "a"}, "10.3.0.4"),
    Pod("ingress", {"app": "other"}, "10.3.0.5"),
    Pod("messaging", {"app": "kafka", "tier": "a"}, "10.3.0.6"),
    *(
        Pod("", {}, address)
        for address in ("203.0.113.9", "198.51.100.9", "192.0.2.9", "172.16.0.1", "10.1.0.9")
    ),
]
PODS = list(_pods())


@dataclass(frozen=True)
class WalkGround(Ground):
    """Remembers the openings of policies, because the same ones return after each field."""

    _known: dict[str, set[Way]] = field(default_factory=dict)

    def opened(
        self, policy: Manifest | None, namespaces: Namespaces, ways: Iterable[Way] | None = None
    ) -> set[Way]:
        if policy is None:
            return set()
        key = json.dumps((policy["metadata"]["namespace"], policy["spec"], namespaces))
        if key not in self._known:
            self._known[key] = super().opened(policy, namespaces)
        return self._known[key] if ways is None else self._known[key].intersection(ways)


GROUND = WalkGround(PODS, [*PODS, *ELSEWHERE], OPENINGS)


@dataclass
class WalkView(View):
    """One version of the declarations, with egress to brokers and the ends of unverified peers."""

    labels: ClassVar[list[dict[str, str]]] = [
        {key: value for key, value in (("app", app), ("tier", tier)) if value}
        for app, tier in product([*APPS, "other"], TIERS)
    ]
    manifests: list[Manifest] = field(default_factory=list)

    def opens(self, me: Identity, direction: str, peer: Pod, opening: Opening) -> bool:
        if super().opens(me, direction, peer, opening):
            return True
        return direction == "Egress" and self._reaches_broker(me, peer, opening)

    def _reaches_broker(self, me: Identity, peer: Pod, opening: Opening) -> bool:
        """Return whether an identity with a grant at a broker may reach its pods."""
        if me not in self.identities:
            return False
        uses = {each: self._used(each) for each in self.identities}
        brokers = Brokers.by(self, self.manifests, uses)
        return any(
            place[0] == peer.namespace
            and selects(spec["workload"]["podSelector"], peer.labels)
            and opening in {(each.get("protocol", "TCP"), each["port"]) for each in ports}
            and any(map(brokers.permits, _operations(brokers, place, me)))
            for place, spec in brokers.brokers.items()
            if (ports := (spec.get("workload") or {}).get("ports"))
        )

    def _used(self, me: Identity) -> tuple[list[Identity], list[Identity], list[Identity]]:
        published, consumed, reviewed = (
            [
                (each["policy"].get("namespace", me[0]), each["policy"]["name"])
                for each in self.identities[me].get(word, [])
            ]
            for word in ("publishes", "consumes", "reviews")
        )
        return published, consumed, reviewed


def _operations(brokers: Brokers, broker: Identity, me: Identity) -> Iterator[Operation]:
    for spec in brokers.policies.values():
        topic = spec["topic"].get("name") or spec["topic"]["prefix"]
        stream = spec["topic"].get("stream", "")
        yield Operation(broker, me, "Publish", topic, stream=stream)
        for each in spec["consumers"]:
            yield Operation(broker, me, "Consume", topic, each.get("group", ""), stream)
        if "deadLetter" in spec:
            letters = spec["deadLetter"]
            yield Operation(
                broker, me, "Review", letters["topic"], stream=letters.get("stream", "")
            )


def view_of(manifests: Iterable[Manifest], now: datetime) -> WalkView:
    """Return the view of these manifests, without unverified peers whose end has passed."""
    declared = [_without_past(each, now) for each in manifests]
    view = WalkView.by(declared, now)
    assert isinstance(view, WalkView)
    view.manifests = declared
    return view


def _without_past(manifest: Manifest, now: datetime) -> Manifest:
    accepts = manifest.get("spec", {}).get("accepts", [])
    if not any(_is_over(each, now) for each in accepts):
        return manifest
    lasting = [each for each in accepts if not _is_over(each, now)]
    return {**manifest, "spec": {**manifest["spec"], "accepts": lasting}}


def _filled(manifest: Manifest) -> Manifest:
    """Return a copy of a manifest with the lists and defaults that the oracle expects."""
    filled = copy.deepcopy(manifest)
    spec = filled.get("spec", {})
    match manifest["kind"]:
        case "ServiceIdentity":
            spec.setdefault("calls", [])
            spec.setdefault("accepts", [])
            spec["workload"].setdefault("ports", [])
        case "TrustDomain":
            spec.setdefault("federatesWith", [])
            dns = (spec.get("network") or {}).get("dns")
            if dns is not None:
                dns.setdefault("namespace", "kube-system")
                dns.setdefault("podSelector", {"matchLabels": {"k8s-app": "kube-dns"}})
                dns.setdefault("port", 53)
        case "TopicPolicy":
            spec.setdefault("producers", [])
            spec.setdefault("consumers", [])
    return filled


def _is_over(entry: Manifest, now: datetime) -> bool:
    end = (entry.get("unverified") or {}).get("expiresAt")
    return end is not None and datetime.fromisoformat(end) <= now


@dataclass
class Judge:
    """Judges every write, given the declarations since the last time at rest."""

    history: History = field(default_factory=lambda: History(make_view=view_of))
    faults: list[str] = field(default_factory=list)
    _latest: dict[Place, Manifest] = field(default_factory=dict)

    def rest(self, objects: dict[Place, Manifest], now: datetime) -> None:
        """Take the declarations as the only ones from now on."""
        self.history.begin(objects, now)
        for place, versions in self.history.versions.items():
            if place not in self._latest:
                self._latest[place] = _filled(objects[place])
            versions[:] = [self._latest[place]]

    def declare(self, place: Place, manifest: Manifest | None, now: datetime) -> None:
        """Take in a change of the declarations."""
        filled = _filled(manifest) if manifest else None
        self.history.note(place, filled)
        self.history.passed(now)
        if filled:
            self._latest[place] = filled

    def see(self, before: Manifest | None, after: Manifest) -> None:
        """Judge a write of an object of an identity."""
        if (after["metadata"].get("labels") or {}).get(OWNER_KIND) != "ServiceIdentity":
            return
        if after["kind"] == "NetworkPolicy":
            self.faults += opened_undeclared(self.history, before, after, GROUND)
        elif after["kind"] == "Secret" and IDENTITY_JSON in after.get("data", {}):
            self.faults += accepted_undeclared(self.history, before, after)
