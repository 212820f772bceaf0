"""Keys and certificates of the floor: one key and one signature each, without checks."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

LIFETIME = timedelta(hours=24)


def signer() -> Callable[[str], dict[str, str]]:
    """Return a function that issues a key and certificate for a URI, as the data of a Secret."""
    root = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    begun = (
        x509.CertificateBuilder(issuer_name=x509.Name([]), subject_name=x509.Name([]))
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
    )

    def sign(uri: str) -> dict[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        certificate = (
            begun.serial_number(x509.random_serial_number())
            .public_key(key.public_key())
            .add_extension(names, critical=True)
            .sign(root, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files = {"tls.crt": certificate.public_bytes(Encoding.PEM), "tls.key": private}
        return {name: base64.b64encode(pem).decode() for name, pem in files.items()}

    return sign
