"""Identities without Troth: the content of a Secret as Troth issues it."""

import base64
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = dt.timedelta(hours=1)

# Accepts: SPIFFE ID -> port -> scopes. Calls: name -> SPIFFE ID and ports.
Accepts = Mapping[str, Mapping[str, Sequence[str]]]
Calls = Mapping[str, tuple[str, Sequence[str]]]


@dataclass
class TrustDomain:
    """A root and the certificates that it issues."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.name)])
        self.root = (
            _builder(subject, subject, self.key.public_key(), dt.timedelta())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    @property
    def bundle(self) -> str:
        return self.root.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_id(self) -> str:
        """Key ID of the root in its leaves, in hex."""
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest.hex()

    def spiffe_id(self, workload: str) -> str:
        """Return the SPIFFE ID of "namespace/account"."""
        namespace, _, account = workload.partition("/")
        return f"spiffe://{self.name}/ns/{namespace}/sa/{account}"

    def files(
        self,
        spiffe_id: str,
        *,
        accepts: Accepts | None = None,
        calls: Calls | None = None,
        age: dt.timedelta = dt.timedelta(),
        bundle: str | None = None,
    ) -> dict[str, str]:
        """Return the content of an identity's Secret; one older than an hour has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(x509.Name([]), self.root.subject, key.public_key(), age)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]),
                critical=True,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return {
            "tls.crt": certificate.public_bytes(serialization.Encoding.PEM).decode(),
            "tls.key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            "ca.crt": self.bundle if bundle is None else bundle,
            "identity.json": document(spiffe_id, accepts or {}, calls or {}),
        }


def document(spiffe_id: str, accepts: Accepts, calls: Calls) -> str:
    return json.dumps(
        {
            "version": "v1alpha1",
            "spiffeID": spiffe_id,
            "accepts": [
                {
                    "spiffeID": caller,
                    "ports": [
                        {"name": port, "scopes": list(scopes)} for port, scopes in ports.items()
                    ],
                }
                for caller, ports in accepts.items()
            ],
            "calls": [
                {"name": name, "spiffeID": callee, "ports": list(ports)}
                for name, (callee, ports) in calls.items()
            ],
            "requires": {"context": []},
        }
    )


def secret(namespace: str, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in files.items()},
    }


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, age: dt.timedelta
) -> x509.CertificateBuilder:
    made = dt.datetime.now(dt.UTC) - age
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - dt.timedelta(minutes=5))
        .not_valid_after(made + HOUR)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    names: Iterable[str] = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    wanted = {"key_cert_sign", "crl_sign"} if signs else {"digital_signature"}
    return x509.KeyUsage(**{name: name in wanted for name in names})
