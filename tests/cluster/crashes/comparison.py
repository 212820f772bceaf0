"""The objects that Troth made, in a form that two runs can compare.

Keys, serial numbers, fingerprints and UIDs become the name of their owner, and times become a
placeholder. So two runs are equal only if, for example, the certificate in a status is the one in
the Secret and is signed by the active root.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.cluster.person import Manifest
from troth.documents.event_bundles import FILE as EVENT_BUNDLES
from troth.documents.secret_keys import IDENTITY_JSON, WEBHOOK_KEYS
from troth.pki.keys.jwk import key_fingerprint, public_jwk
from troth.world.observation.broker_secrets import digest
from troth.world.observation.objects import (
    BUNDLE,
    BUNDLE_MAP,
    KEYSTORE,
    PASSWORD,
    TRUSTSTORE,
    VIEW,
    keystore_digest,
)
from troth.world.observation.retired import RETIRED
from troth.world.observation.signing_keys import GATEWAYS, ISSUERS
from troth.world.observation.webhook_secrets import DOCUMENT, is_generated
from troth.world.observation.webhook_secrets import fingerprint as webhook_fingerprint

NormalForm = dict[str, Any]
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z")
UNREPEATABLE = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"}


def name_of(manifest: Manifest) -> str:
    """Return an object's kind, namespace and name."""
    metadata = manifest["metadata"]
    return " ".join((manifest["kind"], metadata.get("namespace", ""), metadata["name"]))


def data_of(secret: Manifest) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in (secret.get("data") or {}).items()}


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, and those inside the records of retired roots."""
    if pem.startswith(b"{"):
        records = json.loads(pem).get("roots", ())
        inside = "".join(
            each["anchors"] for each in records if isinstance(each, dict) and "anchors" in each
        )
        return certificates_in(inside.encode())
    return x509.load_pem_x509_certificates(pem) if b"BEGIN CERTIFICATE" in pem else []


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def token_key(data: dict[str, bytes]) -> dict[str, str] | None:
    """Return the public key of a Secret's token signing key, if it has one."""
    for slots in (ISSUERS, GATEWAYS):
        if slots.active in data:
            key = load_pem_private_key(data[slots.active], None).public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            return public_jwk(key)
    return None


def retired_in(objects: Iterable[Manifest]) -> frozenset[str]:
    """Return the fingerprints of retired roots and the IDs of retired token keys."""
    found: set[str] = set()
    for manifest in objects:
        if manifest["kind"] == "Secret" and RETIRED in (data := data_of(manifest)):
            roots = {fingerprint(each) for each in certificates_in(data[RETIRED])}
            roots |= set(retired_roots(data))
            found |= roots | {root[:16] for root in roots}
            kids = {jwk["kid"] for jwk in retired_keys(data)}
            found |= kids | set(map(key_fingerprint, kids))
    return frozenset(found)


def retired_roots(data: dict[str, bytes]) -> list[str]:
    """Return the fingerprints of the retired roots in the data of a Secret.

    A record has that of the certificate that signed, and holds the one that verifiers trusted.
    """
    records = json.loads(data.get(RETIRED, b"{}")).get("roots", ())
    return [each["fingerprint"] for each in records]


def retired_keys(data: dict[str, bytes]) -> list[dict[str, str]]:
    """Return the retired token keys in the data of a Secret."""
    return [each["jwk"] for each in json.loads(data.get(RETIRED, b"{}")).get("keys", ())]


def normalised(objects: Iterable[Manifest], past: frozenset[str] = frozenset()) -> NormalForm:
    """Return the comparable form of each object, by its kind and place.

    It leaves out the retired roots and keys in `past`: each rotation adds one, so their number
    differs at two ends of one act.
    """
    meanings = _Meanings(past)
    known = list(objects)
    for manifest in known:
        meanings.learn(manifest)
    return {name_of(manifest): meanings.of(manifest) for manifest in known}


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Yield the differences of two forms."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{where} {key}".strip())
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from differences(first, second, f"{where}[{number}]")
    elif one != other:
        yield f"{where}: {one} became {other}"


@dataclass
class _Meanings:
    """The meaning of each unrepeatable value, and the known certificates."""

    past: frozenset[str]
    meaning: dict[str, str] = field(default_factory=dict)
    certificates: list[x509.Certificate] = field(default_factory=list)

    def learn(self, manifest: Manifest) -> None:
        self.meaning[manifest["metadata"]["uid"]] = f"the UID of {name_of(manifest)}"
        if manifest["kind"] != "Secret":
            return
        data = data_of(manifest)
        self.meaning[keystore_digest(data)] = f"the digest of {name_of(manifest)}"
        jwk = token_key(data)
        if jwk is not None:
            self.meaning[key_fingerprint(jwk["kid"])] = f"the key of {name_of(manifest)}"
            for word in ("kid", "x", "y"):
                self.meaning[jwk[word]] = f"the {word} of the key of {name_of(manifest)}"
        self._learn_retired(name_of(manifest), data)
        if is_generated(manifest):
            for key, text in data.items():
                whose = f"{key} of {name_of(manifest)}"
                self.meaning[text.decode()] = whose
                uid = manifest["metadata"]["uid"]
                self.meaning[webhook_fingerprint(uid, text)] = f"the fingerprint of {whose}"
        self.meaning[digest(data)] = f"the digest of all of {name_of(manifest)}"
        for key, pem in data.items():
            if key == "ca.crt":  # a root is named after the Secret that holds its key
                continue
            for number, certificate in enumerate(certificates_in(pem)):
                which = "" if key == RETIRED else f" {number}"  # their order is that of their keys
                self._learn(certificate, f"{name_of(manifest)} {key}{which}")

    def _learn_retired(self, where: str, data: dict[str, bytes]) -> None:
        for root in retired_roots(data):
            whose = f"a retired root of {where}"
            self.meaning |= {root: whose, root[:16]: whose}
        for jwk in retired_keys(data):
            whose = f"a retired key of {where}"
            self.meaning[key_fingerprint(jwk["kid"])] = whose
            self.meaning |= {jwk[word]: f"the {word} of {whose}" for word in ("kid", "x", "y")}

    def _learn(self, certificate: x509.Certificate, where: str) -> None:
        self.certificates.append(certificate)
        mark = fingerprint(certificate)
        serial = f"{certificate.serial_number:x}"
        for word in (mark, mark[:16], serial, serial.zfill(40)):
            self.meaning.setdefault(word, where)

    def of(self, manifest: Manifest) -> NormalForm:
        metadata = manifest["metadata"]
        normal = {
            **{key: each for key, each in manifest.items() if key != "data"},
            "metadata": {key: metadata[key] for key in metadata.keys() - UNREPEATABLE},
        }
        told: NormalForm = self._told(normal, metadata.get("generation"))
        match manifest["kind"]:
            case "Secret":
                told["data"] = dict(self._secret(data_of(manifest)))
            case "ConfigMap":
                told["data"] = {
                    key: self._bundle(text)
                    if key in (BUNDLE, BUNDLE_MAP, EVENT_BUNDLES)
                    else self._chain(text.encode())
                    for key, text in manifest["data"].items()
                }
        return told

    def _told(self, value: Any, generation: int | None = None) -> Any:
        match value:
            case dict():
                return {
                    key: "as declared now"
                    if key == "observedGeneration" and each == generation
                    else self._told(each, generation)
                    for key, each in value.items()
                }
            case list():
                return [self._told(each, generation) for each in value if not self._is_past(each)]
            case str() if value.startswith("-----BEGIN CERTIFICATE"):
                return self._chain(value.encode())
            case str() if value.startswith("{"):
                return self._told(json.loads(value), generation)
            case str():
                return TIME.sub("(a time)", self.meaning.get(value, value))
        return value

    def _is_past(self, record: Any) -> bool:
        """Return whether it is a record of a root or key that was retired before."""
        if not isinstance(record, dict):
            return False
        jwk = record.get("jwk") or {}
        return not self.past.isdisjoint(
            {record.get("fingerprint"), record.get("keyID"), jwk.get("kid"), record.get("kid")}
        )

    def _secret(self, data: dict[str, bytes]) -> Iterator[tuple[str, Any]]:
        for key, value in data.items():
            match key.rpartition(".")[2], key:
                case "crt", _:
                    yield key, self._chain(value)
                case "key" | "pem", _:
                    yield key, self._owners(load_pem_private_key(value, None).public_key())
                case _, name if name in (IDENTITY_JSON, WEBHOOK_KEYS, DOCUMENT):
                    yield key, self._told(json.loads(value))
                case _, name if name in (KEYSTORE, TRUSTSTORE):
                    yield key, self._store(value, data[PASSWORD])
                case _, name if name == BUNDLE:
                    yield key, self._bundle(value.decode())
                case _, name if name == VIEW:
                    yield key, self._told(json.loads(gzip.decompress(value)))
                case _, name if name in (ISSUERS.made, GATEWAYS.made):
                    yield key, self._told(value.decode())
                case _, name if name == PASSWORD:
                    yield key, "a password"
                case _:
                    yield key, self._told(value.decode())

    def _bundle(self, text: str) -> Any:
        """Return one or several SPIFFE bundles with the meaning of each key and certificate."""
        document = json.loads(text)
        for bundle in document.get("trust_domains", {"": document}).values():
            keys = [(each, self._key_ids(each)) for each in bundle["keys"]]
            bundle["keys"] = sorted(
                (
                    {"use": key["use"], "retired": "troth_retired_at" in key, "is": ids}
                    for key, ids in keys
                    if self.past.isdisjoint(ids)
                ),
                key=lambda key: (key["use"], key["retired"]),
            )
        return self._told(document)

    def _key_ids(self, jwk: dict[str, Any]) -> list[str]:
        if "kid" in jwk:
            return [jwk["kid"]]
        ders = map(base64.b64decode, jwk["x5c"])
        return [fingerprint(x509.load_der_x509_certificate(der)) for der in ders]

    def _chain(self, pem: bytes) -> list[NormalForm]:
        return [self._certificate(each) for each in certificates_in(pem)]

    def _certificate(self, certificate: x509.Certificate) -> NormalForm:
        return {
            "is": self.meaning.get(fingerprint(certificate), "nobody's"),
            "subject": _subject(certificate),
            "names": _names(certificate),
            "lives": str(certificate.not_valid_after_utc - certificate.not_valid_before_utc),
            "says": sorted(each.oid.dotted_string for each in certificate.extensions),
            "signed by": sorted(set(self._signers(certificate))),
        }

    def _signers(self, certificate: x509.Certificate) -> Iterator[str]:
        for other in self.certificates:
            try:
                certificate.verify_directly_issued_by(other)
            except (ValueError, TypeError, InvalidSignature):
                continue
            yield self.meaning[fingerprint(other)]

    def _owners(self, key: Any) -> list[str]:
        """Return the owners of a key's certificates."""
        owners = (each for each in self.certificates if each.public_key() == key)
        return sorted({self.meaning[fingerprint(each)] for each in owners})

    def _store(self, store: bytes, password: bytes) -> NormalForm:
        opened = pkcs12.load_pkcs12(store, password)
        others = [self._certificate(each.certificate) for each in opened.additional_certs]
        return {
            "key": self._owners(opened.key.public_key()) if opened.key else [],
            "leaf": self._certificate(opened.cert.certificate) if opened.cert else None,
            "roots": sorted(others, key=lambda each: each["is"]),  # the file sorts by fingerprint
        }


def _subject(certificate: x509.Certificate) -> dict[str, str]:
    """Return the subject without the number that distinguishes roots."""
    return {
        each.rfc4514_attribute_name: str(each.value)
        for each in certificate.subject
        if each.oid != NameOID.SERIAL_NUMBER
    }


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return []
    assert isinstance(found.value, x509.SubjectAlternativeName)
    return [str(each.value) for each in found.value]
