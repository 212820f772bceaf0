"""Judge of a cluster at rest: its objects must be exactly as declared."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from cryptography import x509

from tests.builders import Manifest
from tests.campaign.judges.declared import View, identity_of, wants_certificate
from tests.campaign.judges.reach import OPENINGS, OTHERS, OUTSIDE, PODS
from tests.campaign.judges.secrets import (
    LATEST_RENEWAL,
    accepted_peers,
    authority_data,
    leaf_faults,
    leaf_in,
    signed_by,
)
from tests.networkpolicy import Network
from tests.oracle import Place as Identity
from tests.strategies import PORTS
from troth.documents.secret_keys import LEAF, ROOTS
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.observation import objects as observe


@dataclass
class AtRest:
    """The objects of a cluster at rest, and the declarations."""

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
        """Yield each edge that is not as declared; suspended ones may be open or closed."""
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
        """Yield the identities with one domain whose root is valid now."""
        for place in self.view.identities:
            if not self.view.unsettled(place) and self._signs(self.view.governor(place[0]) or ""):
                yield place

    def _signs(self, domain: str) -> bool:
        """Return whether the root is valid; after the clock was set back, it may not be yet."""
        root = x509.load_pem_x509_certificate(authority_data(self.objects, domain)[LEAF])
        return root.not_valid_before_utc <= self.view.now < root.not_valid_after_utc

    def _secret(self, place: Identity) -> Manifest:
        return self.objects.get(("Secret", Ref(place[0], f"{place[1]}-identity")), {})

    def _peers(self) -> Iterator[str]:
        """Yield each identity.json that does not accept exactly the declared callers."""
        suspended = replace(self.view, suspended_too=True)
        for me in self._settled():
            if not wants_certificate(self.view, me):
                continue
            found = accepted_peers(self._secret(me))
            wanted = {
                (self.view.named(caller), port)
                for caller in self._settled()
                for port in self.view.ports(me)
                if self.view.live(caller, me, port)
            }
            if wanted - found:
                yield f"{me} does not accept {wanted - found}"
            for name, port in found - wanted:
                if not any(suspended.live(each, me, port) for each in self.view.identities):
                    yield f"{me} accepts {name} on {port}"

    def _certificates(self) -> Iterator[str]:
        """Yield each invalid certificate, or one that its domain and callees do not verify."""
        leaves = {}
        for me in self._settled():
            if not wants_certificate(self.view, me):
                continue
            leaf = leaf_in(observe.decoded(self._secret(me)))
            if leaf is None:
                yield f"{me} has no certificate"
                continue
            leaves[me] = leaf
            for fault in leaf_faults(leaf, me, self.view, self.objects, LATEST_RENEWAL):
                yield f"the certificate of {me} is not valid: {fault}"
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
        """Yield each governed namespace without a bundle, and each unclaimed one with one."""
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
            yield from status_faults(f"TrustDomain {ref}", manifest["status"], ready=ready)

    def _status(self, ref: Ref, status: Manifest) -> Iterator[str]:
        me = (ref.namespace, ref.name)
        if self.view.unsettled(me) or me in self._settled():
            ready = not self.view.unsettled(me) and self._callable(me)
            yield from status_faults(f"ServiceIdentity {ref}", status, ready=ready)
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
        """Return whether callers can authenticate to an identity as it requires."""
        domain = self.view.governor(me[0])
        assert domain is not None
        return (
            self.view.trusted(self.view.identities[me])
            and self.view.tokens_issued(me, domain)
            and self.view.audience_is_its_own(me, domain)
        )


def status_faults(who: str, status: Manifest, *, ready: bool) -> Iterator[str]:
    conditions = {each["type"]: each for each in status["conditions"]}
    said = conditions["Ready"]
    if (said["status"] == "True") != ready:
        yield f"{who} says {said['status']} {said['reason']}: {said.get('message')}"
    if not said.get("message"):
        yield f"{who} does not say why"
    stalled = conditions["Stalled"]["status"] == "True"
    if stalled == ready:
        yield f"{who} {'says' if stalled else 'does not say'} that it needs a person"
