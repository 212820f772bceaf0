"""Objects of the earlier version in the middle of a rotation, recorded without private keys.

`python -m tests.cluster.faults.upgrades.recording` records them again, with that version itself.

A recorded Secret has a mark in place of each private key. `restored` generates other keys, signs
the recorded certificates again with them, and replaces everything that depends on a key: the
certificates in bundles, fingerprints, and JWKs. All else is as the earlier version wrote it.
"""

import asyncio
import base64
import contextlib
import gzip
import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sandbox import Sandbox
from tests.cluster.faults.upgrades.releases import Release, earlier
from tests.cluster.faults.upgrades.rotating import Point, Shop, opened
from tests.cluster.person import Manifest
from tests.cluster.stage import staged
from troth.pki.encodings.pem import write_certificates
from troth.pki.keys.jwk import key_fingerprint, public_jwk
from troth.pki.keys.private import generate_key, private_key_pem
from troth.resources.algorithms import KeyAlgorithm

FOLDER = Path(__file__).parent / "recorded"
POINTS: tuple[Point, ...] = (
    ("rotation", "Distributing"),
    ("rotation", "Reissuing"),
    ("rotation", "Retiring"),
)
DECLARED = ("Namespace", "TrustDomain", "ServiceIdentity", "CredentialRotation")
WRITTEN = ("Secret", "ConfigMap", "NetworkPolicy")
MARK, ZIPPED = "a private key: ", "compressed: "
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def path_of(point: Point) -> Path:
    return FOLDER / f"{'-'.join(point).lower()}.json"


# Recording


async def record(sandbox: Sandbox, release: Release, point: Point) -> None:
    """Run a version until a rotation is at a point, kill it, and record the objects."""
    with tempfile.TemporaryDirectory() as directory:
        async with staged(sandbox) as stage, opened(stage, Path(directory, "shop")) as shop:
            operator = shop.start(release)
            await operator.leads()
            await shop.declare()
            await shop.rotate()
            await shop.reaches(point)
            await shop.kill(operator)
            keys: dict[str, str] = {}
            objects = [_recorded(each, keys) async for each in _objects(shop)]
            found = {
                "now": datetime.now(UTC).isoformat(),
                "domain": stage.name,
                "own": stage.own,
                "keys": keys,
                "objects": objects,
            }
            path_of(point).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


async def _objects(shop: Shop) -> Any:
    here = {shop.stage.own, *shop.stage.namespaces, shop.stage.name, ""}
    for kind in (*DECLARED, *WRITTEN):
        for each in await shop.stage.person.all(kind):
            metadata = each["metadata"]
            ours = (metadata.get("labels") or {}).get("app.kubernetes.io/managed-by") == "troth"
            place = metadata.get("namespace") or metadata["name"]
            if place in here and (kind in DECLARED or ours):
                del metadata["managedFields"]
                yield {**each, "kind": kind}


def _recorded(manifest: Manifest, keys: dict[str, str]) -> Manifest:
    """Return an object with texts as data, and with a mark in place of each private key."""
    if manifest["kind"] != "Secret":
        return manifest
    texts = {}
    for name, value in manifest["data"].items():
        data = base64.b64decode(value)
        if b"PRIVATE KEY" in data:
            key = load_pem_private_key(data, None).public_key()
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            label = _label(key)
            keys[label] = pem
            texts[name] = MARK + label
        elif data[:2] == b"\x1f\x8b":
            texts[name] = ZIPPED + gzip.decompress(data).decode()
        else:
            texts[name] = data.decode()
    return {**manifest, "data": texts}


def _label(key: Any) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()[:16]


# Restoring


class Keys:
    """New keys in place of the recorded ones, and the texts that depend on them."""

    def __init__(self, recorded: dict[str, str], texts: list[str]) -> None:
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.instead: dict[str, str] = {}
        for label, pem in recorded.items():
            old = load_pem_public_key(pem.encode())
            assert isinstance(old, ec.EllipticCurvePublicKey)
            self.instead[MARK + label] = private_key_pem(self.key(old)).decode()
            before, after = public_jwk(old), public_jwk(self.key(old).public_key())
            self.instead |= {before[each]: after[each] for each in ("kid", "x", "y")}
            self.instead[key_fingerprint(before["kid"])] = key_fingerprint(after["kid"])
        blocks = {block for text in texts for block in BLOCK.findall(text)}
        found = [x509.load_pem_x509_certificate(block.encode()) for block in sorted(blocks)]
        issuers = {each.subject: each for each in found if each.subject == each.issuer}
        for each in found:
            self._replace(each, self._sign(each, issuers[each.issuer]))

    def key(self, old: Any) -> ec.EllipticCurvePrivateKey:
        """Return the new key in place of a public key."""
        label = _label(old)
        if label not in self._keys:
            made = generate_key(KeyAlgorithm.ECDSA_P256)
            assert isinstance(made, ec.EllipticCurvePrivateKey)
            self._keys[label] = made
        return self._keys[label]

    def _sign(self, old: x509.Certificate, issuer: x509.Certificate) -> x509.Certificate:
        own, signer = self.key(old.public_key()), self.key(issuer.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .serial_number(old.serial_number)
            .not_valid_before(old.not_valid_before_utc)
            .not_valid_after(old.not_valid_after_utc)
            .public_key(own.public_key())
        )
        for each in old.extensions:
            value: x509.ExtensionType = each.value
            if isinstance(value, x509.SubjectKeyIdentifier):
                value = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
            elif isinstance(value, x509.AuthorityKeyIdentifier):
                value = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
            builder = builder.add_extension(value, critical=each.critical)
        return builder.sign(signer, hashes.SHA256())

    def _replace(self, old: x509.Certificate, new: x509.Certificate) -> None:
        marks = [each.fingerprint(hashes.SHA256()).hex() for each in (old, new)]
        ders = [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in (old, new)]
        pems = [write_certificates([each]).decode().strip() for each in (old, new)]
        self.instead |= dict([marks, [mark[:16] for mark in marks], ders, pems])


def restored(point: Point) -> tuple[datetime, str, str, list[Manifest]]:
    """Return the time of a recording, its trust domain, Troth's namespace, and the objects."""
    found = json.loads(path_of(point).read_text())
    keys = Keys(found["keys"], list(_texts(found["objects"])))
    longest_first = sorted(keys.instead, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))

    def renewed(value: Any) -> Any:
        match value:
            case str():
                return pattern.sub(lambda found: keys.instead[found.group()], value)
            case dict():
                return {key: renewed(each) for key, each in value.items()}
            case list():
                return [renewed(each) for each in value]
        return value

    objects = [_stored(renewed(each)) for each in found["objects"]]
    return datetime.fromisoformat(found["now"]), found["domain"], found["own"], objects


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict() | list():
            for each in value.values() if isinstance(value, dict) else value:
                yield from _texts(each)


def _stored(manifest: Manifest) -> Manifest:
    if manifest["kind"] != "Secret":
        return manifest
    data = {}
    for name, text in manifest["data"].items():
        value = text.encode()
        if text.startswith(ZIPPED):
            value = gzip.compress(text.removeprefix(ZIPPED).encode(), mtime=0)
        data[name] = base64.b64encode(value).decode()
    return {**manifest, "data": data}


def main() -> None:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        release = earlier(Path(directory))
        sandbox = stack.enter_context(Sandbox.start())
        release.install_crds(sandbox)
        for point in POINTS:
            asyncio.run(record(sandbox, release, point))


if __name__ == "__main__":
    main()
