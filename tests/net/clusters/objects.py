"""Objects of a random cluster that are no declarations: Secrets, reports, foreign objects."""

import base64
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from tests.net.clusters.declarations import Declarations
from tests.net.clusters.draw import Draw
from tests.net.clusters.universe import (
    ENDPOINTS,
    HOOKS,
    PLACES,
)
from tests.net.stage import OWN, Manifest, Stage
from troth.documents.gateway_report import LABEL, member
from troth.pki.certificates.issuing import create_root
from troth.pki.keys.private import generate_key, private_key_pem
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.world.observation.webhook_secrets import GIVEN_LABEL

THEMES = ("identities", "brokers", "webhooks", "rotations")
ONE, TWO = "whsec_the-first-of-two", "whsec_the-second-of-two"


class Objects:
    """The cluster of one seed, and the objects that it may get."""

    def __init__(self, number: int, stage: Stage) -> None:
        self._draw = Draw(f"scene {number}")
        self._stage = stage
        self._theme = THEMES[number % len(THEMES)]
        self._draw.rare = 0.12 if number // len(THEMES) % 3 == 0 else 0.03
        restarted = 0.7 if self._theme == "rotations" else 0.15
        parts = 4 if self._theme == "brokers" else 0
        self._declared = Declarations(self._draw, parts=parts, restarted=restarted)
        self._told: list[Any] = []

    def _put(self, manifest: Manifest) -> None:
        kind, ref = manifest["kind"], Ref.of(manifest)
        self._tell(f"put {kind} {ref}", self._stage.put(manifest))

    def _tell(self, what: str, concerned: Iterable[Any] = ()) -> None:
        self._told.append({what: sorted(map(str, concerned))})

    def _some_rotation(self) -> Manifest:
        draw, declared = self._draw, self._declared
        if draw.half():
            made = declared.rotation("TrustDomain", ("", draw.pick(("red", "red", "blue"))))
            if draw.sometimes():
                made["spec"]["compromised"] = self._some_fingerprint()
            return made
        return declared.rotation("ServiceIdentity", draw.pick(declared.wishes).callee)

    def _some_fingerprint(self) -> str:
        stored = self._stage.store.objects.get(("TrustDomain", Ref("", "red")), {})
        status = stored.get("status", {})
        shown = [*status.get("authorities", []), *status.get("tokenKeys", [])]
        found = [each["fingerprint"] for each in shown if each.get("fingerprint")]
        return str(self._draw.pick(found)) if found else "0123456789abcdef"

    def _authority(self, name: str, domain: str) -> Manifest:
        """Return the Secret of a given CA."""
        draw = self._draw
        key = generate_key(KeyAlgorithm.ECDSA_P256)
        lifetime = draw.pick((timedelta(days=365), timedelta(hours=2)))
        whose = f"{domain}.example" if draw.often() else "elsewhere.example"
        certificate = create_root(whose, key, lifetime, self._stage.now, constrained=draw.often())
        data = {"tls.crt": certificate, "tls.key": private_key_pem(key)}
        if draw.chance(3 * draw.rare):
            self._spoil_authority(data, whose)
        return _secret(name, OWN, data)

    def _spoil_authority(self, data: dict[str, bytes], whose: str) -> None:
        other_key = generate_key(KeyAlgorithm.ED25519)
        other = create_root(whose, other_key, timedelta(days=30), self._stage.now)
        wrong = (
            *({"tls.crt": b"none"}, {"tls.key": b"none"}, {"ca.crt": b"none"}, {"ca.crt": other}),
            *({"tls.key": private_key_pem(other_key)}, {"tls.crt": data["tls.crt"] + other}),
            *({"tls.crt": data["tls.crt"] + data["tls.key"]}, {"tls.crt": b""}, {"tls.key": b""}),
        )
        data |= self._draw.pick(wrong)

    def _keys(self, name: str = "") -> Manifest:
        """Return the Secret of a sender's keys, as a user provides it."""
        draw = self._draw
        data = {key: draw.pick((ONE, TWO, "short")).encode() for key in draw.some(("one", "two"))}
        if draw.sometimes():
            data = draw.pick(({}, {f"key-{number}": ONE.encode() for number in range(20)}))
        made = _secret(name or draw.pick(("signing", "others")), "north", data)
        if draw.often():
            made["metadata"]["labels"] = {GIVEN_LABEL: "true"}
        return made

    def _report(self) -> Manifest:
        """Return the gateway's report on the use of its keys."""
        draw = self._draw
        names = ("one", "two", "a", "b")
        used = {
            key: self._stage.now - timedelta(minutes=draw.below(90)) for key in draw.some(names)
        }
        endpoints = draw.some(ENDPOINTS)
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "hooks-webhook-keys",
                "namespace": HOOKS,
                "labels": {LABEL: HOOKS},
            },
            "data": {f"north.{each}": member(used) for each in endpoints},
        }

    def _slice(self) -> Manifest:
        addresses = self._draw.some(("10.0.1.7", "172.16.0.1"))
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [each], "conditions": {"ready": True}} for each in addresses
            ],
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }

    def _foreign(self) -> Iterable[Manifest]:
        """Create foreign objects under the names of owned ones; no informer reports them."""
        for _ in range(self._draw.pick((0, 0, 1, 2))):
            namespace, name = self._draw.pick(PLACES)
            kind, called = self._draw.pick(
                (
                    ("Secret", f"{name}-identity"),
                    ("Secret", f"{name}-main"),
                    ("NetworkPolicy", f"{name}-troth"),
                    ("ConfigMap", "trust-bundle"),
                    ("Secret", "charges-webhook"),
                )
            )
            made = {"kind": kind, "metadata": {"name": called, "namespace": namespace}}
            self._stage.put_unseen({"apiVersion": "v1", **made, "spec": {}})
        return ()


def _secret(name: str, namespace: str, data: dict[str, bytes]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
