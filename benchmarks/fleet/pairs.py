"""Two identities whose edge comes and goes: what is declared of it, and what Troth writes then."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fleet import topology
from benchmarks.fleet.copies import public, whole
from benchmarks.fleet.topology import Manifest, path
from benchmarks.harness.client import Write
from troth.world.observation.objects import PEERS


@dataclass(frozen=True, slots=True)
class Pair:
    """A caller and a callee that the ring of so many `identities` does not connect."""

    caller: int
    callee: int
    identities: int

    @property
    def pods(self) -> tuple[int, int]:
        """Return whose pods it takes."""
        return self.caller, self.callee

    def declared(self, *, live: bool) -> list[Write]:
        """Return the writes with which both sides declare the edge, or take it back."""
        callers, callees = ([self.caller], [self.callee]) if live else ([], [])
        manifests = [
            topology.identity(self.callee, self.identities, callers=callers),
            topology.identity(self.caller, self.identities, callees=callees),
        ]
        return [
            Write(path("ServiceIdentity", object_name=each["metadata"]["name"]), each)
            for each in manifests
        ]

    def children(self) -> list[str]:
        """Return the paths of all that Troth writes of the edge: two policies, two Secrets."""
        policies = [path("NetworkPolicy", object_name=topology.policy(each)) for each in self.pods]
        secrets = [path("Secret", object_name=topology.secret(each)) for each in self.pods]
        return [*policies, *secrets]

    def is_in(self, children: Sequence[Manifest], *, live: bool) -> bool:
        """Say whether all of the children tell of the edge, or with `live` false none."""
        policies, secrets = children[:2], children[2:]
        told = [*self.selected(policies), *self.listed(secrets)]
        return all(each is live for each in told)

    def selected(self, policies: Sequence[Manifest]) -> list[bool]:
        """Say of both policies whether they open to the other."""
        return [_selects(each, peer) for each, peer in zip(policies, self.pods[::-1], strict=True)]

    def listed(self, secrets: Sequence[Manifest]) -> list[bool]:
        """Say of both Secrets whether they name the other."""
        return [_lists(each, peer) for each, peer in zip(secrets, self.pods[::-1], strict=True)]

    def copied(self, children: Sequence[Manifest], namespace: str) -> list[Write]:
        """Return the writes of the same children, as they are, in another namespace."""
        policies, secrets = children[:2], children[2:]
        return [
            *(whole("NetworkPolicy", each, namespace=namespace) for each in policies),
            *(public(each, namespace=namespace) for each in secrets),
        ]


def names(document: str, peer: int) -> bool:
    """Say whether the text of an identity.json names an identity by its SPIFFE ID."""
    return f'/sa/{topology.name(peer)}"' in document


def _lists(secret: Manifest, peer: int) -> bool:
    return names(base64.b64decode(secret.get("data", {}).get(PEERS, "")).decode(), peer)


def _selects(policy: Manifest, peer: int) -> bool:
    selector = {"matchLabels": topology.labels(peer)}
    return json.dumps(selector) in json.dumps(policy.get("spec"))
