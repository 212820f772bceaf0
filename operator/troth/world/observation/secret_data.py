"""Data of a Secret, decoded only as far as it is used.

Anybody who may write Secrets in a namespace can write one with a megabyte or a hundred thousand
entries. The cost here is bounded by what the caller reads.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping

from cryptography import x509

from troth.pki.encodings.pem import MAX_CHAIN_BYTES, read_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.parsing import LONGEST as LONGEST_KEY
from troth.pki.keys.private import load_private_key, same_key
from troth.world.facts.objects import Fault, Manifest

MOST_ENTRIES = 32
"""Maximum number of entries in a Secret that Troth reads completely. Troth writes at most 18."""


class SecretData:
    """Data of one version of a Secret. Each part of it is decoded and parsed at most once."""

    def __init__(self, secret: Manifest) -> None:
        self._encoded: Mapping[str, str] = secret.get("data") or {}
        self._decoded: dict[tuple[str, int | None], bytes | None] = {}
        self._chains: dict[str, list[x509.Certificate]] = {}
        self._key_faults: dict[tuple[str, str], Fault | None] = {}

    def __len__(self) -> int:
        return len(self._encoded)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: str) -> bool:
        return name in self._encoded

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    @property
    def has_too_many(self) -> bool:
        """Whether there are more entries than Troth reads."""
        return len(self._encoded) > MOST_ENTRIES

    def get(self, name: str, most: int | None = None) -> bytes | None:
        """Return a value, None if it is absent or not base64.

        A value of more than `most` bytes is truncated to between `most + 1` and `most + 3` bytes,
        so its reader sees that it is too large.
        """
        if (name, most) not in self._decoded:
            self._decoded[name, most] = _decoded(self._encoded.get(name), most)
        return self._decoded[name, most]

    def value(self, name: str, most: int | None = None) -> bytes:
        """Return a value like `get`, empty if it is absent."""
        return self.get(name, most) or b""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield the entries whose values are base64. Check `has_too_many` first."""
        for name in self._encoded:
            value = self.get(name)
            if value is not None:
                yield name, value

    def chain(self, name: str) -> list[x509.Certificate]:
        """Return the certificates of a value that holds nothing else.

        Raises `CertificateError` as `read_certificates` does.
        """
        if name not in self._chains:
            pem = self.value(name, MAX_CHAIN_BYTES)
            self._chains[name] = read_certificates(pem, name, most=MAX_CHAIN_BYTES)
        return self._chains[name]

    def key_fault(self, certificates: str, key: str) -> Fault | None:
        """Return what is wrong with a private key, which must be that of the first certificate.

        The arguments are the names of the two values.
        """
        names = certificates, key
        if names not in self._key_faults:
            self._key_faults[names] = self._check_key(certificates, key)
        return self._key_faults[names]

    def _check_key(self, certificates: str, key: str) -> Fault | None:
        try:
            pem = self.value(certificates, MAX_CHAIN_BYTES)
            chain = self._chains.get(certificates) or read_certificates(
                pem, certificates, comments=True, most=MAX_CHAIN_BYTES
            )
            if same_key(chain[0], load_private_key(self.value(key, LONGEST_KEY))):
                return None
        except PKIError as error:
            return Fault(error.reason, str(error))
        return Fault(
            "PrivateKeyMismatch", f"{key} is not the key of the first certificate in {certificates}"
        )


def _decoded(text: object, most: int | None) -> bytes | None:
    if not isinstance(text, str):
        return None
    if most is not None:
        text = text[: (most // 3 + 1) * 4]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
