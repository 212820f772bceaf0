"""Mounted files of a service, written like a kubelet writes them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.builders import own_root
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.documents.identity.document import parse_document
from troth.documents.message_schemas import schema_file
from troth.edge.identity.snapshot import Snapshot
from troth.pki.bundles.spiffe_bundle import bundle_document, bundle_map_document, parse_bundle_map
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import generate_key, private_key_pem
from troth.pki.tokens.signing import TokenSigner, certificate_thumbprint
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.messaging.schemas.schema_text import digest_of

DOMAIN, PARTNER = "prod.shop.example", "partner.example"
PORT = "https"
NOW = datetime.now(UTC)
"""When this module was imported: a run of all tests may come to use it minutes later."""
ISSUER = "https://production-issuer.troth-system.svc:8443"
PARTNER_ISSUER = "https://issuer.partner.example"


def workload(name: str, domain: str = DOMAIN) -> str:
    return f"spiffe://{domain}/ns/shop/sa/{name}"


PAYMENTS, CHECKOUT, GATEWAY = workload("payments"), workload("checkout"), workload("gateway")
STRANGER, ABROAD = workload("stranger"), workload("checkout", PARTNER)

ROOT, PARTNER_ROOT = own_root(which="edge"), own_root(domain=PARTNER, which="partner")
KEY, PARTNER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
SIGNER, PARTNER_SIGNER = TokenSigner(KEY), TokenSigner(PARTNER_KEY)


@dataclass(frozen=True)
class SVID:
    """A certificate with its chain, and its key."""

    pem: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        return read_certificates(self.pem, "the SVID")[0].public_bytes(Encoding.DER)

    @property
    def chain(self) -> tuple[str, ...]:
        """As the ASGI TLS extension has it."""
        return tuple(
            each.public_bytes(Encoding.PEM).decode()
            for each in read_certificates(self.pem, "the SVID")
        )

    @property
    def thumbprint(self) -> str:
        return certificate_thumbprint(self.der)

    def write(self, directory: Path) -> tuple[Path, Path]:
        """The files of a client: certificate and key."""
        certificate, key = directory / "client.crt", directory / "client.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key)
        return certificate, key


def svid(
    spiffe_id: str,
    *,
    authority: SigningAuthority | None = None,
    dns_names: tuple[str, ...] = (),
    lifetime: timedelta = timedelta(days=1),
) -> SVID:
    """A fresh X.509-SVID."""
    if authority is None:
        authority = PARTNER_ROOT if f"//{PARTNER}/" in spiffe_id else ROOT
    key = generate_key(KeyAlgorithm.ECDSA_P256)
    profile = LeafProfile(spiffe_id, dns_names, lifetime)
    return SVID(issue(profile, key, authority, NOW), private_key_pem(key))


@cache
def known(spiffe_id: str) -> SVID:
    """One certificate for the whole run."""
    return svid(spiffe_id, dns_names=("localhost",))


def accepted(spiffe_id: str, *scopes: str, ports: tuple[str, ...] = (PORT,)) -> dict[str, Any]:
    return {
        "spiffeID": spiffe_id,
        "ports": [{"name": port, "scopes": list(scopes)} for port in ports],
    }


def forwarding(spiffe_id: str, *scopes: str, ports: tuple[str, ...] = (PORT,)) -> dict[str, Any]:
    """What is `accepted`, of a gateway that may say by which client it was called."""
    entry = accepted(spiffe_id, *scopes, ports=ports)
    for port in entry["ports"]:
        port["forwards"] = ["ClientCertificate"]
    return entry


def document(**changed: Any) -> dict[str, Any]:
    """The `identity.json` of payments, which accepts checkout by mTLS, or as asked."""
    return {
        "version": "v1alpha1",
        "spiffeID": PAYMENTS,
        "issuers": {DOMAIN: ISSUER},
        "issuerIDs": {DOMAIN: f"spiffe://{DOMAIN}/ns/troth-system/sa/troth-issuer"},
        "accepts": [accepted(CHECKOUT, "payments.charge", "payments.refund")],
        "calls": [],
        "requires": {"context": []},
    } | changed


def by_token(proof: str = "Required", *context: str) -> dict[str, Any]:
    """`requires` of an identity whose pattern is `token`."""
    return {
        "context": list(context),
        "token": {"audience": PAYMENTS, "proofOfPossession": proof},
    }


def bundle_map(
    keys: Mapping[str, ec.EllipticCurvePrivateKey] | None = None,
    roots: Mapping[str, SigningAuthority] | None = None,
) -> dict[str, Any]:
    """The bundle map of two trust domains that know each other."""
    keys = keys or {DOMAIN: KEY, PARTNER: PARTNER_KEY}
    roots = roots or {DOMAIN: ROOT, PARTNER: PARTNER_ROOT}
    return bundle_map_document(
        {
            name: bundle_document(
                roots[name].authority.anchors, [public_jwk(keys[name].public_key())]
            )
            for name in keys
        }
    )


def snapshot(generation: int = 0, *, bundles: Any = None, **changed: Any) -> Snapshot:
    """What `Identity.current` would be for a document."""
    parsed = parse_document(json.dumps(document(**changed)))
    known = parse_bundle_map(json.dumps(bundles or bundle_map()))
    return Snapshot(
        spiffe_id=PAYMENTS,
        trust_domain=DOMAIN,
        document=parsed,
        bundles=known,
        event_bundles=known,
        certificate_thumbprint=None,
        anchors=b"".join(ROOT.authority.anchors),
        tls_crt=Path("tls.crt"),
        tls_key=Path("tls.key"),
        ca_crt=Path("ca.crt"),
        generation=generation,
        schemas=parsed.schema_texts,
    )


def json_schema(text: str) -> dict[str, str]:
    """A JSON Schema as an entry of `schemas`."""
    return {"type": "JSONSchema", "digest": digest_of(text), "text": text}


def in_file(schema: dict[str, str]) -> dict[str, str]:
    """The same schema with its text in a file."""
    kept = {name: each for name, each in schema.items() if name != "text"}
    return kept | {"file": schema_file(schema["type"], schema["digest"])}


def orders(**changed: Any) -> dict[str, Any]:
    """An entry of `messages`: payments consumes orders of checkout's."""
    return {
        "policy": "shop/orders",
        "action": "Consume",
        "group": "payments",
        "broker": "messaging/main",
        "type": "kafka",
        "topic": "prod.orders.v1",
        "principal": "troth-shop.payments",
        "environment": "production",
        "context": {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": 3600},
        "schemas": [json_schema('{"properties":{"total":{"multipleOf":0.01}}}')],
        "deadLetter": {"topic": "prod.orders.v1.dlq", "review": "Required"},
        "producers": [CHECKOUT],
        "tenants": ["acme"],
    } | changed


def access_token(
    caller: str = CHECKOUT, *, certificate: bytes | None = None, **changed: Any
) -> str:
    """A token of a caller's for payments."""
    asked: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": PAYMENTS,
        "scopes": ["payments.charge"],
        "lifetime": timedelta(minutes=5),
        "now": datetime.now(UTC),
        "token_id": "a-token",
    }
    signer = changed.pop("signer", SIGNER)
    return str(signer.access_token(subject=caller, certificate=certificate, **(asked | changed)))


def transaction_token(**changed: Any) -> str:
    """A transaction token that the gateway asked for."""
    now = changed.pop("now", datetime.now(UTC))
    asked: dict[str, Any] = {
        "issuer": ISSUER,
        "trust_domain": DOMAIN,
        "transaction": "00000000-0000-0000-0000-000000000007",
        "subject": "customer-42",
        "scopes": ["orders.place"],
        "requester": GATEWAY,
        "context": {"tenant": "blue"},
        "request": {},
        "expires": now + timedelta(minutes=5),
        "now": now,
    }
    signer = changed.pop("signer", SIGNER)
    return str(signer.transaction_token(**(asked | changed)))


class Mount:
    """A directory whose files are replaced as a kubelet does it, all at once."""

    _numbers = count()

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Make a new directory of the files, turn `..data` to it, and remove the old one."""
        fresh = self.path / f"..2026_11_25_{next(self._numbers)}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        data, turning = self.path / "..data", self.path / "..data_tmp"
        old = data.resolve() if data.exists() else None
        turning.symlink_to(fresh.name)
        turning.replace(data)
        for name in files:
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        if old is not None:
            shutil.rmtree(old)


class Mounts:
    """The mounts of a service: its identity, the bundle, and the schemas, empty at first."""

    def __init__(self, path: Path) -> None:
        self.identity, self.bundle = Mount(path / "identity"), Mount(path / "bundle")
        self.schemas = Mount(path / "schemas")

    def write(
        self,
        own: SVID | None = None,
        *,
        roots: bytes = b"".join(ROOT.authority.anchors),
        bundles: Any = None,
        **changed: Any,
    ) -> None:
        """Both mounts whole: payments, or as asked."""
        self.write_bundle(bundles)
        own = own or known(PAYMENTS)
        self.identity.write(
            {
                "identity.json": json.dumps(document(**changed)).encode(),
                "tls.crt": own.pem,
                "tls.key": own.key,
                "ca.crt": roots,
            }
        )

    def write_bundle(self, bundles: Any = None, *, for_events: Any = None) -> None:
        files = {"bundle-map.json": json.dumps(bundles or bundle_map()).encode()}
        if for_events is not None:
            files[EVENTS_BUNDLE_MAP] = json.dumps(for_events).encode()
        self.bundle.write(files)
