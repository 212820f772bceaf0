"""What must hold, judged by the oracle, by an evaluator of NetworkPolicies and by certificates.

The operator is not asked. `History` has every version of what was declared since all was last
quiet: whoever is told of changes late, kind by kind, may act on any mixture of them.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.builders import OWN, Manifest
from tests.networkpolicy import Network, Pod, selects
from tests.oracle import Declared, Opening
from tests.oracle import Place as Identity
from tests.strategies import APPS, NAMESPACES, PORTS
from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.keys import load_private_key, same_key
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.resources.schema.scalars import parse_duration
from troth.world.observation import objects as observe

DECLARED = (
    *("TrustDomain", "ServiceIdentity", "MessageBroker", "TopicPolicy"),
    *("WebhookEndpoint", "CredentialRotation", "Namespace", "Service", "EndpointSlice"),
)
BACKDATE = timedelta(minutes=5)
EARLIEST_RENEWAL, LATEST_RENEWAL = 0.6, 2 / 3
"""The shares of its lifetime after which a certificate may be replaced for its age, and is."""
OPENINGS: list[Opening] = [
    *((protocol, number) for _, number, protocol in PORTS.values()),
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 443),
]
PODS = [
    Pod(namespace, {"app": app}, f"10.0.{space}.{number}")
    for space, namespace in enumerate(NAMESPACES)
    for number, app in enumerate(APPS, start=1)
]
OUTSIDE = [Pod("", {}, address) for address in ("203.0.113.9", "172.16.0.1", "2001:db8::9")]
OTHERS = ("kube-system", OWN)
"""Namespaces in which nothing is declared."""


@dataclass
class View(Declared):
    """What is declared, as somebody may see it."""

    def opens(self, me: Identity, direction: str, peer: Pod, opening: Opening) -> bool:
        """Whether an identity's policy may let a peer through."""
        if me not in self.identities or not self.claims(me[0]):
            return False
        if direction == "Ingress":
            return self._enters(me, peer, opening)
        return self._leaves(me, peer, opening)

    def named(self, place: Identity) -> str:
        """The SPIFFE ID of a governed identity."""
        domain = self.domains[self.governor(place[0]) or ""]["domain"]
        account = self.identities[place]["workload"]["serviceAccountName"]
        return f"spiffe://{domain}/ns/{place[0]}/sa/{account}"

    def names(self, place: Identity) -> list[str]:
        """All names in the certificate of a governed identity."""
        hosts = [f"{each['metadata']['name']}.{place[0]}.svc" for each in self.services_of(place)]
        return [self.named(place), *hosts, *(f"{host}.cluster.local" for host in hosts)]


def view_of(manifests: Iterable[Manifest], now: datetime) -> View:
    view = View.by(list(manifests), now)
    assert isinstance(view, View)
    return view


@dataclass
class History:
    """Every version of what users declared, and the time, since all was last quiet."""

    versions: dict[Place, list[Manifest | None]] = field(default_factory=dict)
    moments: list[datetime] = field(default_factory=list)
    begun: int = 0
    """How often all was quiet."""

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
        """Every mixture, the latest first."""
        return (view for view, _ in self.mixed())

    def mixed(self) -> Iterator[tuple[View, list[Manifest]]]:
        """The same, each with what it is of."""
        latest_first = [
            versions[::-1]
            for (kind, _), versions in self.versions.items()
            if kind != "CredentialRotation"
        ]
        for mixture in product(*latest_first):
            declared = [manifest for manifest in mixture if manifest is not None]
            for moment in reversed(self.moments):
                yield view_of(declared, moment), declared

    def rotations_of(self, place: Identity) -> Iterator[Manifest]:
        target = {"kind": "ServiceIdentity", "name": place[1]}
        for (kind, ref), versions in self.versions.items():
            if kind == "CredentialRotation" and ref.namespace == place[0]:
                specs = [manifest["spec"] for manifest in versions if manifest]
                yield from (spec for spec in specs if spec["target"] == target)


# What is written


def identity_of(child: Manifest) -> Identity:
    metadata = child["metadata"]
    return metadata["namespace"], metadata["ownerReferences"][0]["name"]


def wider(history: History, before: Manifest | None, policy: Manifest) -> Iterator[str]:
    """Yield what a policy that is written lets through, and nobody declares or declared.

    What a conflict suspends may stay open if it was, and not open. Labels that are put back open
    nothing: what the policy lets through is judged with the next write, which closes it.
    """
    if before is not None and before["spec"] == policy["spec"]:
        return
    me = identity_of(policy)
    spaces = {name: {"kubernetes.io/metadata.name": name} for name in (*NAMESPACES, *OTHERS)}
    for (kind, ref), versions in history.versions.items():
        if kind == "Namespace" and versions[-1]:
            spaces[ref.name] = versions[-1]["metadata"]["labels"]
    network, standing = Network(spaces, (policy,)), Network(spaces, (before,) if before else ())
    views = list(history.views())
    chosen = [
        pod
        for pod in PODS
        if pod.namespace == me[0] and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    for pod, peer, opening, direction in product(
        chosen[:1], (*PODS, *OUTSIDE), OPENINGS, ("Ingress", "Egress")
    ):
        protocol, number = opening
        if network.allows(direction, pod, peer, number, protocol):
            stood = before is not None and standing.allows(direction, pod, peer, number, protocol)
            anew = before is None
            if not any(
                _may(v, me, direction, peer, opening, stood=stood, anew=anew) for v in views
            ):
                yield f"{me} {direction} {dict(peer.labels)}@{peer.address} {opening} was opened"


def _may(
    view: View,
    me: Identity,
    direction: str,
    peer: Pod,
    opening: Opening,
    *,
    stood: bool,
    anew: bool,
) -> bool:
    """Whether a policy may open this, that did or did not before, or that is made anew."""
    if me not in view.identities:
        return False
    if not stood:  # a policy that begins in a conflict has the resolver
        return (anew or not view.unsettled(me)) and view.opens(me, direction, peer, opening)
    return replace(view, suspended_too=True).opens(me, direction, peer, opening)


def befriended(history: History, before: Manifest | None, secret: Manifest) -> Iterator[str]:
    """Yield whom a list of peers that is written lets in, and nobody declares or declared."""
    me = identity_of(secret)
    for name, port in _let_in(secret) - (_let_in(before) if before else set()):
        if not any(
            view.live(caller, me, port) and view.named(caller) == name
            for view in history.views()
            for caller in view.identities
        ):
            yield f"{name} was let in by {me} on {port}"


def _let_in(secret: Manifest) -> set[tuple[str, str]]:
    try:
        document = json.loads(observe.decoded(secret)[observe.PEERS])
    except (KeyError, ValueError):
        return set()
    return {
        (each["spiffeID"], port["name"]) for each in document["accepts"] for port in each["ports"]
    }


def unguarded(history: History, policy: Manifest) -> Iterator[str]:
    """Yield that a policy was removed whose identity still wants one, whoever is asked.

    The second one, which only denies, goes when the selector is settled.
    """
    me = identity_of(policy)
    if policy["metadata"]["name"] == f"{me[1]}-troth-deny":
        return
    if all(
        me in view.identities and view.identities[me].get("enforcement", "Enforce") == "Enforce"
        for view in history.views()
    ):
        yield f"the policy of {me} was removed"


def secretless(history: History, secret: Manifest) -> Iterator[str]:
    """Yield that a Secret was removed whose identity still wants one, whoever is asked."""
    me, name = identity_of(secret), secret["metadata"]["name"]
    wants = _serves_webhooks if name == f"{me[1]}-webhook-signing" else _is_certified
    if all(me in view.identities and wants(view.identities[me]) for view in history.views()):
        yield f"the Secret {name} of {me} was removed"


def _is_certified(spec: Manifest) -> bool:
    return "gatewayOnly" not in spec["authentication"]


def _serves_webhooks(spec: Manifest) -> bool:
    return "servesWebhooks" in spec


def keyless(history: History, secret: Manifest) -> Iterator[str]:
    """Yield that a trust domain's keys were removed, which it has still, whoever is asked."""
    name, _, part = secret["metadata"]["name"].rpartition("-")
    wanted = "authority" if part == "authority" else "tokens"
    if all(name in view.domains and wanted in view.domains[name] for view in history.views()):
        yield f"{part} of {name} was removed"


def needless(
    history: History, objects: dict[Place, Manifest], before: Manifest, now: datetime
) -> Iterator[str]:
    """Yield that a certificate was replaced though nothing was wrong with it."""
    me = identity_of(before)
    data = observe.decoded(before)
    leaf = _leaf(data)
    if leaf is None:
        return
    issued_at = leaf.not_valid_before_utc + BACKDATE
    for rotation in history.rotations_of(me):
        asked = rotation.get("requestedAt")
        every = rotation.get("every")
        if asked and issued_at < datetime.fromisoformat(asked) <= now:
            return
        if every and issued_at + parse_duration(every) <= now:
            return
    wanted = [view for view in history.views() if wants_certificate(view, me)]
    lacks = (_lacks(leaf, me, view, objects, EARLIEST_RENEWAL) for view in wanted)
    if not any(fault for each in lacks for fault in each):
        yield f"the certificate of {me} was replaced, and was good"


def wants_certificate(view: View, me: Identity) -> bool:
    if me not in view.identities or view.unsettled(me):
        return False
    return _is_certified(view.identities[me])


def _leaf(data: dict[str, bytes]) -> x509.Certificate | None:
    """The certificate, if it can be read and the key is its own."""
    try:
        leaf = x509.load_pem_x509_certificate(data[LEAF])
        right = same_key(leaf, load_private_key(data[KEY]))
    except (ValueError, KeyError):
        return None
    return leaf if right else None


def _lacks(
    leaf: x509.Certificate,
    me: Identity,
    view: View,
    objects: dict[Place, Manifest],
    renewal: float,
) -> Iterator[str]:
    """Yield what is wrong with the certificate of an identity that has what it needs for one.

    `renewal` is the share of its lifetime after which it is too old.
    """
    governor = view.governor(me[0]) or ""
    certificates = view.domains[governor].get("certificates", {})
    mtls = view.identities[me]["authentication"].get("mtls", {})
    lengths = [certificates.get("lifetime", "24h"), mtls.get("lifetime", "2160h")]
    issued_at, until = leaf.not_valid_before_utc + BACKDATE, leaf.not_valid_after_utc
    if sorted(names_of(leaf)) != sorted(view.names(me)):
        yield "its name"
    if until - issued_at > min(map(parse_duration, lengths)):
        yield "its lifetime"
    if view.now >= issued_at + (until - issued_at) * renewal:
        yield "its age"
    if not signed_by(leaf, _authority(objects, governor)[LEAF]):
        yield "its root"


def _authority(objects: dict[Place, Manifest], domain: str) -> dict[str, bytes]:
    return observe.decoded(objects["Secret", Ref(OWN, f"{domain}-authority")])


# What is in place


def names_of(leaf: x509.Certificate) -> list[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [*uris, *names.get_values_for_type(x509.DNSName)]


def signed_by(leaf: x509.Certificate, roots: bytes) -> bool:
    for root in x509.load_pem_x509_certificates(roots):
        with suppress(ValueError, InvalidSignature):
            leaf.verify_directly_issued_by(root)
            return True
    return False


@dataclass
class Standing:
    """The objects of a cluster in which all is quiet, beside what is declared there."""

    objects: dict[Place, Manifest]
    view: View

    def faults(self) -> Iterator[str]:
        yield from self._reach()
        yield from self._peers()
        yield from self._certificates()
        yield from self._bundles()
        yield from self._statuses()

    def _of(self, kind: str) -> dict[Ref, Manifest]:
        return {ref: each for (of, ref), each in self.objects.items() if of == kind}

    def _reach(self) -> Iterator[str]:
        """Exactly what is declared is open; what a conflict suspends may be either way."""
        view, suspended = self.view, replace(self.view, suspended_too=True)
        spaces: dict[str, dict[str, str]] = {name: {} for name in OTHERS} | view.namespaces
        network = Network(spaces, tuple(self._of("NetworkPolicy").values()))
        waiting = [
            policy
            for policy in self._of("NetworkPolicy").values()
            if view.unsettled(identity_of(policy))
        ]
        everybody = [
            pod
            for pod in PODS
            if pod.namespace in view.namespaces
            and not any(map(view.unsettled, view.carried(pod)))
            and not Network(spaces, tuple(waiting)).isolated(pod, "Ingress")
        ]
        enforced = {id(pod) for pod in everybody if view.enforced(pod)}
        for source, destination in product((*everybody, *OUTSIDE), repeat=2):
            if source is destination or not enforced & {id(source), id(destination)}:
                continue
            for opening in OPENINGS:
                found = network.lets(source, destination, opening[1], opening[0])
                declared = view.lets(source, destination, opening)
                kept = found and not declared and suspended.lets(source, destination, opening)
                if found != declared and not kept:
                    told = " -> ".join(
                        f"{pod.namespace}{dict(pod.labels)}@{pod.address}"
                        for pod in (source, destination)
                    )
                    yield f"{told} {opening} is {'open' if found else 'closed'}"

    def _settled(self) -> Iterator[Identity]:
        """Those that have all they need: one domain, whose root is valid now."""
        for place in self.view.identities:
            if not self.view.unsettled(place) and self._signs(self.view.governor(place[0]) or ""):
                yield place

    def _signs(self, domain: str) -> bool:
        """Whether the root is valid: it is not yet, if the clock was set back since it was made."""
        root = x509.load_pem_x509_certificate(_authority(self.objects, domain)[LEAF])
        return root.not_valid_before_utc <= self.view.now < root.not_valid_after_utc

    def _secret(self, place: Identity) -> Manifest:
        return self.objects.get(("Secret", Ref(place[0], f"{place[1]}-identity")), {})

    def _peers(self) -> Iterator[str]:
        """Who is let in by its name is who may call."""
        suspended = replace(self.view, suspended_too=True)
        for me in self._settled():
            if not wants_certificate(self.view, me):
                continue
            found = _let_in(self._secret(me))
            wanted = {
                (self.view.named(caller), port)
                for caller in self._settled()
                for port in self.view.ports(me)
                if self.view.live(caller, me, port)
            }
            if wanted - found:
                yield f"{me} does not know {wanted - found}"
            for name, port in found - wanted:
                if not any(suspended.live(each, me, port) for each in self.view.identities):
                    yield f"{me} lets in {name} on {port}"

    def _certificates(self) -> Iterator[str]:
        """Each is good, and verifies by the roots of everybody in its domain and those let in."""
        leaves = {}
        for me in self._settled():
            if not wants_certificate(self.view, me):
                continue
            leaf = _leaf(observe.decoded(self._secret(me)))
            if leaf is None:
                yield f"{me} has no certificate"
                continue
            leaves[me] = leaf
            for fault in _lacks(leaf, me, self.view, self.objects, LATEST_RENEWAL):
                yield f"the certificate of {me} is not good: {fault}"
        for me, leaf in leaves.items():
            here = self.view.governor(me[0])
            for other in leaves:
                related = self.view.governor(other[0]) == here or any(
                    self.view.live(me, other, port) for port in PORTS
                )
                if related and not signed_by(leaf, self._roots(other)):
                    yield f"{other} does not trust {me}"
            for name in self.view.namespaces:
                bundle = self._bundle(name)
                if self.view.governor(name) == here and not (bundle and signed_by(leaf, bundle)):
                    yield f"the bundle of {name} does not trust {me}"

    def _roots(self, place: Identity) -> bytes:
        return observe.decoded(self._secret(place))[ROOTS]

    def _bundle(self, namespace: str) -> bytes:
        found = self.objects.get(("ConfigMap", Ref(namespace, "trust-bundle")), {"data": {}})
        return str(found["data"].get(ROOTS, "")).encode()

    def _bundles(self) -> Iterator[str]:
        """There is one in every namespace that is governed, and none where nobody claims it."""
        for name in self.view.namespaces:
            there = ("ConfigMap", Ref(name, "trust-bundle")) in self.objects
            claims = self.view.claims(name)
            if len(claims) == 1 and not there:
                yield f"{name} has no bundle"
            if not claims and there:
                yield f"{name} has a bundle still"

    def _statuses(self) -> Iterator[str]:
        for ref, manifest in self._of("ServiceIdentity").items():
            yield from self._status(ref, manifest["status"])
        for ref, manifest in self._of("TrustDomain").items():
            torn = [
                name
                for name in self.view.namespaces
                if ref.name in self.view.claims(name) and len(self.view.claims(name)) > 1
            ]
            ready = not torn and self._signs(ref.name)
            yield from told(f"TrustDomain {ref}", manifest["status"], ready=ready)

    def _status(self, ref: Ref, status: Manifest) -> Iterator[str]:
        me = (ref.namespace, ref.name)
        if self.view.unsettled(me) or me in self._settled():
            ready = not self.view.unsettled(me) and self._callable(me)
            yield from told(f"ServiceIdentity {ref}", status, ready=ready)
        for edge in status.get("edges", []):
            if edge.get("reason") == "Unverified":
                continue
            space, _, name = edge["peer"].partition("/")
            peer = space, name
            caller, callee = (peer, me) if edge["direction"] == "Inbound" else (me, peer)
            for port in edge["ports"]:
                if (edge["state"] == "Live") != self.view.live(caller, callee, port):
                    yield f"{ref} says of {edge['direction']} {peer} {port}: {edge['state']}"

    def _callable(self, me: Identity) -> bool:
        """Whether anybody could call it, as it asks its callers to prove who they are."""
        domain = self.view.governor(me[0])
        assert domain is not None
        return (
            self.view.trusted(self.view.identities[me])
            and self.view.tokens_issued(me, domain)
            and self.view.audience_is_its_own(me, domain)
        )


def told(who: str, status: Manifest, *, ready: bool) -> Iterator[str]:
    conditions = {each["type"]: each for each in status["conditions"]}
    said = conditions["Ready"]
    if (said["status"] == "True") != ready:
        yield f"{who} says {said['status']} {said['reason']}: {said.get('message')}"
    if not said.get("message"):
        yield f"{who} does not say why"
    stalled = conditions["Stalled"]["status"] == "True"
    if stalled == ready:
        yield f"{who} {'says' if stalled else 'does not say'} that it needs a person"
