"""Judge of every state that objects had during a rotation: nothing was lost, nothing issued twice.

The rules are about states that the API server stored, whoever wrote them:

- At each moment every bundle and every Secret of an identity has the root of every leaf.
- At each moment every bundle has the key that signs tokens.
- One rotation makes one root, one token key, and one leaf for each identity.
- No policy closes an edge that was open, opens one that was closed, or is deleted.
- No `identity.json` loses a peer that it had.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cluster.crashes.comparison import (
    certificates_in,
    data_of,
    fingerprint,
    name_of,
    token_key,
)
from tests.cluster.person import Manifest
from tests.cluster.stage import opened
from tests.cluster.witness import Sight

IDENTITY, ROOTS, LEAF, PEERS = "-identity", "ca.crt", "tls.crt", "identity.json"


@dataclass
class Continuity:
    """The rules, for one trust domain and one rotation of each credential."""

    domain: str
    own: str
    leaves: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Fingerprints of the leaves that each Secret has held."""
    keys: set[str] = field(default_factory=set)
    """IDs of the keys that have signed tokens."""
    roots: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Names and keys of the authorities; the certificates of a root have one of each."""
    _latest: int = 0
    """Version of the last state that was judged or let pass."""
    _objects: dict[str, Manifest] = field(default_factory=dict)

    def begin(self, sights: Iterable[Sight]) -> None:
        """Take in the states before the rotation, which no rule is about."""
        for sight in self._news(sights):
            self._take(sight)

    def judge(self, sights: Iterable[Sight]) -> None:
        """Assert that each state since the last call keeps the rules."""
        faults: list[str] = []
        for sight in self._news(sights):
            name = name_of(sight.manifest)
            before = self._take(sight)
            faults += self._changed(name, before, None if sight.type == "DELETED" else sight)
            faults += [f"after {name} was written: {fault}" for fault in self._trust()]
        for name, held in self.leaves.items():
            if len(held) > 2:
                faults.append(f"{name} held {len(held)} certificates")
        if len(self.roots) > 2:
            faults.append(f"there were {len(self.roots)} roots")
        if len(self.keys) > 2:
            faults.append(f"{len(self.keys)} keys signed tokens")
        assert not faults, "\n".join(dict.fromkeys(faults))

    def _news(self, sights: Iterable[Sight]) -> list[Sight]:
        news = [each for each in sights if each.version > self._latest]
        news.sort(key=lambda each: each.version)
        self._latest = news[-1].version if news else self._latest
        return news

    def _take(self, sight: Sight) -> Manifest | None:
        """Take in a state; return the object's state before it."""
        name = name_of(sight.manifest)
        before = self._objects.pop(name, None)
        if sight.type != "DELETED":
            self._objects[name] = sight.manifest
            self._learn(name, sight.manifest)
        return before

    def _learn(self, name: str, manifest: Manifest) -> None:
        if manifest["kind"] != "Secret":
            return
        data = data_of(manifest)
        if name.endswith(IDENTITY):
            self.leaves[name].add(fingerprint(certificates_in(data[LEAF])[0]))
        elif name == f"Secret {self.own} {self.domain}-authority":
            for text in data.values():
                self.roots |= {_root(each) for each in certificates_in(text)}
        elif (jwk := token_key(data)) is not None:
            self.keys.add(jwk["kid"])

    def _changed(self, name: str, before: Manifest | None, after: Sight | None) -> Iterator[str]:
        if before is None:
            return
        if after is None:
            yield f"{name} was deleted"
            return
        if before["kind"] == "NetworkPolicy":
            for side in ("ingress", "egress"):
                was, now = opened(before, side), opened(after.manifest, side)
                if was != now:
                    yield f"{name} opened {now} instead of {was} for {side}"
        if name.endswith(IDENTITY):
            lost = _peers(before) - _peers(after.manifest)
            if lost:
                yield f"{name} lost {sorted(lost)}"

    def _trust(self) -> Iterator[str]:
        leaves = {}
        trusted: dict[str, list[x509.Certificate]] = {}
        bundles: dict[str, set[str]] = {}
        signing = ""
        for name, manifest in self._objects.items():
            if name.endswith(IDENTITY):
                data = data_of(manifest)
                leaves[name] = certificates_in(data[LEAF])[0]
                trusted[name] = certificates_in(data[ROOTS])
            elif manifest["kind"] == "ConfigMap" and "bundle.json" in manifest["data"]:
                trusted[name] = certificates_in(manifest["data"][ROOTS].encode())
                document = json.loads(manifest["data"]["bundle.json"])
                bundles[name] = {
                    each["kid"] for each in document["keys"] if each["use"] == "jwt-svid"
                }
            elif manifest["kind"] == "Secret" and (jwk := token_key(data_of(manifest))):
                signing = jwk["kid"]
        for whose, leaf in leaves.items():
            for verifier, roots in trusted.items():
                if not any(_signed(leaf, root) for root in roots):
                    yield f"{verifier} does not trust the certificate of {whose}"
        for verifier, kids in bundles.items():
            if kids and signing and signing not in kids:
                yield f"{verifier} does not have the key that signs tokens"


def _root(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes(), key


def _peers(secret: Manifest) -> set[str]:
    """Return the SPIFFE IDs in the `identity.json` of a Secret."""
    return set(_names(json.loads(data_of(secret)[PEERS])))


def _names(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from _names(each)
        case list():
            for each in value:
                yield from _names(each)
        case str() if value.startswith("spiffe://"):
            yield value


def _signed(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
