"""Search of texts for any fragment of a run's secrets.

Every value in a Secret counts as secret, except under the keys in FOR_EVERYBODY. Private keys count
even there.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.leaks import forms
from troth.documents.secret_keys import WEBHOOK_KEYS
from troth.documents.webhook_endpoint import DOCUMENT
from troth.pki.keys.parsing import PrivateKey
from troth.world.observation.broker_secrets import STATE, public_keys
from troth.world.observation.objects import VIEW, VIEW_STATE
from troth.world.observation.retired import RETIRED

FOR_EVERYBODY = {
    *("tls.crt", "ca.crt", "identity.json"),
    *("next.crt", "next-ca.crt", "retiring.crt", "retiring-ca.crt"),
    *("plain.crt", "next-plain.crt", "retiring-plain.crt"),
    *("retiring.jwk", RETIRED, "bundle.json", VIEW, VIEW_STATE, "current.made", "next.made"),
    *public_keys(),
    *(DOCUMENT, WEBHOOK_KEYS, "key.made"),
    *(STATE, "username", "sasl.mechanism"),
    *("sasl.jaas.config", "client.properties", "java.properties"),  # their password is known
}
"""Keys of Secrets that hold public values: certificates, public keys, names and times."""
SEALED = {"keystore.p12", "truststore.p12"}
"""Keys with encrypted values, which are searched for in base64 only, as the Secret holds them."""
SHORTEST = 12
"""Shortest secret in characters; a shorter one would be found by chance."""
ARMOUR = b"PRIVATE KEY-----"
NATS = b"BEGIN NATS USER JWT"
_CODED = re.compile(rb"(?:whsec_|whsk_|hmac-sha256:)((?:[A-Za-z0-9+/]{4})+)")
"""Webhook secret that is the key in base64, possibly truncated; matches whole quanta."""
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*-----", re.DOTALL)
_PART = re.compile(r'.+?(?:, (?=")|\n|\Z)', re.DOTALL)
"""Part of a text: a line, or an entry of an object in JSON."""


@dataclass(frozen=True)
class Leak:
    """Fragment of a secret in a place where it must not be."""

    place: str
    secret: str
    before: str
    """Text before the fragment."""

    def __str__(self) -> str:
        return f"{self.secret} stands in {self.place}, after: …{' '.join(self.before.split())}"


@dataclass
class Search:
    """Known secrets, and the search for them."""

    _pieces: dict[str, str] = field(default_factory=dict)
    _short: dict[str, str] = field(default_factory=dict)
    _known: set[bytes] = field(default_factory=set)
    _clean: set[str] = field(default_factory=set)
    """Parts of texts without a secret. The states of an object differ in few of them."""

    def __post_init__(self) -> None:
        self._add("the armour of a private key", forms.pieces(ARMOUR) | {ARMOUR.decode()})

    # Secrets

    def keep_key(self, name: str, key: PrivateKey) -> None:
        """Add a private key."""
        self._add(name, forms.of_key(key))

    def keep(self, name: str, value: bytes, *, public: bool = False) -> None:
        """Add a value: the whole value if it is secret, and the private keys in it."""
        if value in self._known:
            return
        self._known.add(value)
        blocks = _BLOCK.findall(value)
        for block in blocks:
            self._keep_block(f"a key in {name}", block)
        if public or (blocks and not _BLOCK.sub(b"", value).strip()):
            return
        text = value.decode("utf-8", "replace").strip()
        assert len(text) >= SHORTEST, f"{name} is too short to be searched for: {text}"
        if len(text) < forms.WINDOW:
            self._short[text] = name
        self._add(name, forms.pieces(value.strip()) - forms.framing())
        if coded := _CODED.match(value.strip()):
            self._add(name, forms.pieces(base64.b64decode(coded[1])))

    def keep_secret(self, secret: Mapping[str, Any]) -> None:
        """Add every value of a Secret that is not public."""
        metadata = secret["metadata"]
        for key, encoded in (secret.get("data") or {}).items():
            name = f"{key} of Secret {metadata['namespace']}/{metadata['name']}"
            value = base64.b64decode(encoded or "")  # empty if a patch removes it
            if NATS in value:  # the file also has text for people
                lines = (each for each in value.splitlines() if each and each.strip(b"-* ") == each)
                value = b"\n".join(each for each in lines if b" " not in each)
            if key in SEALED and value not in self._known:
                self._known.add(value)
                self._add(name, forms.in_base64(value))
            elif value.strip():
                self.keep(name, value, public=key in FOR_EVERYBODY)

    def keep_token(self, name: str, token: str) -> None:
        """Add a bearer token: its header and its signature. Its claims are names and times."""
        header, _, signature = token.split(".")
        self._add(name, forms.pieces(header.encode()) | forms.pieces(signature.encode()))
        padded = signature + "=" * (-len(signature) % 4)
        self._add(name, forms.pieces(base64.urlsafe_b64decode(padded)))

    def _keep_block(self, name: str, block: bytes) -> None:
        try:
            key = load_pem_private_key(block.replace(b"\\n", b"\n"), None)  # JSON too
        except (ValueError, TypeError, UnsupportedAlgorithm):  # broken, or encrypted
            self._add(name, forms.pieces(block) - forms.framing())
            return
        assert isinstance(key, PrivateKey)
        self.keep_key(name, key)

    def _add(self, name: str, pieces: Iterable[str]) -> None:
        self._clean.clear()
        for piece in pieces:
            self._pieces.setdefault(piece, name)

    # Findings

    def found(self, place: str, text: str) -> list[Leak]:
        """Return the secrets found in a text, each once."""
        leaks: dict[str, Leak] = {}
        for found in _PART.finditer(text):
            begin = found.start()
            # with all fragments that begin here
            part = text[begin : found.end() + forms.WINDOW - 1]
            if part in self._clean:
                continue
            fragments = [*self._fragments(part)]
            for at, name in fragments:
                end = begin + at
                leaks.setdefault(name, Leak(place, name, text[max(0, end - 160) : end]))
            if not fragments:
                self._clean.add(part)
        for short, name in self._short.items():
            if short in text:
                leaks[name] = Leak(place, name, text.partition(short)[0][-160:])
        return list(leaks.values())

    def _fragments(self, part: str) -> Iterator[tuple[int, str]]:
        """Yield where fragments of secrets begin, each with the secret's name."""
        for at in range(len(part) - forms.WINDOW + 1):
            name = self._pieces.get(part[at : at + forms.WINDOW])
            if name is not None:
                yield at, name
