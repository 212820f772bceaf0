"""Two identities whose edge is added and removed, with its declarations and Troth's writes."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fleet import topology
from benchmarks.fleet.copies import public, whole
from benchmarks.fleet.topology import Manifest, path
from benchmarks.harness.client import Write
from troth.documents.secret_keys import IDENTITY_JSON


@dataclass(frozen=True, slots=True)
class Pair:
    """A caller and a callee that a ring of `identities` identities does not connect."""

    caller: int
    callee: int
    identities: int

    @property
    def pods(self) -> tuple[int, int]:
        """Numbers of the identities whose pods the pair needs."""
        return self.caller, self.callee

    def declared(self, *, live: bool) -> list[Write]:
        """Return the writes that declare the edge on both sides, or with `live` false remove it."""
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
        """Return the paths of Troth's objects for the edge: two policies, two Secrets."""
        policies = [path("NetworkPolicy", object_name=topology.policy(each)) for each in self.pods]
        secrets = [path("Secret", object_name=topology.secret(each)) for each in self.pods]
        return [*policies, *secrets]

    def is_in(self, children: Sequence[Manifest], *, live: bool) -> bool:
        """Return whether all objects contain the edge, or with `live` false whether none does."""
        policies, secrets = children[:2], children[2:]
        told = [*self.selected(policies), *self.listed(secrets)]
        return all(each is live for each in told)

    def selected(self, policies: Sequence[Manifest]) -> list[bool]:
        """Return for each policy whether it allows the other identity."""
        return [_selects(each, peer) for each, peer in zip(policies, self.pods[::-1], strict=True)]

    def listed(self, secrets: Sequence[Manifest]) -> list[bool]:
        """Return for each Secret whether it names the other identity."""
        return [_lists(each, peer) for each, peer in zip(secrets, self.pods[::-1], strict=True)]

    def copied(self, children: Sequence[Manifest], namespace: str) -> list[Write]:
        """Return the writes that copy the objects to another namespace."""
        policies, secrets = children[:2], children[2:]
        return [
            *(whole("NetworkPolicy", each, namespace=namespace) for each in policies),
            *(public(each, namespace=namespace) for each in secrets),
        ]


def names(document: str, peer: int) -> bool:
    """Return whether the text of an identity.json names an identity by its SPIFFE ID."""
    return f'/sa/{topology.name(peer)}"' in document


def _lists(secret: Manifest, peer: int) -> bool:
    return names(base64.b64decode(secret.get("data", {}).get(IDENTITY_JSON, "")).decode(), peer)


def _selects(policy: Manifest, peer: int) -> bool:
    selector = {"matchLabels": topology.labels(peer)}
    return json.dumps(selector) in json.dumps(policy.get("spec"))
