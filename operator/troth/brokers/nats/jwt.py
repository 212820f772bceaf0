"""JWTs and keys of NATS in operator mode (docs.nats.io, "JWT in depth"; nats-io/jwt, version 2).

Keys are Ed25519 in base32. Their first letter is their kind: `O` for an operator, `A` for an
account, `U` for a user. Seeds begin with `SO`, `SA` or `SU`. The `iss` of a JWT is the public key
of its signer, and its header allows only one algorithm.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import nkeys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from troth.pki.encodings import base64url, strict_json

MAX_JWT = 1024 * 1024
"""Maximum characters of a JWT that the server decodes (nats-io/jwt, `MaxTokenSize`)."""
MAX_CREDS = 64 * 1024
"""Maximum characters of a `.creds` file, enough for a user with hundreds of permissions."""

Claims = dict[str, Any]

_HEADER = base64url.encode(b'{"typ":"JWT","alg":"ed25519-nkey"}')
_PARTS = 3
_PUBLIC_LETTERS = 56
_PUBLIC_BYTES = 35  # one for the kind, 32 for the key, two for the checksum
_SEED = re.compile(rb"S[OAU][A-Z2-7]{56}")
_RULE = "-" * 3
_BLOCK = 3  # lines: a rule, the content, and a rule

# The format that nsc writes and every client reads (ADR-14 of nats-architecture-and-design).
_CREDS_FORM = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""


class Kind(IntEnum):
    """Kind of the owner of a key; the value is the key's first byte."""

    OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
    ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
    USER = nkeys.PREFIX_BYTE_USER


_PREFIXES = {b"SO": Kind.OPERATOR, b"SA": Kind.ACCOUNT, b"SU": Kind.USER}


@dataclass(frozen=True, slots=True)
class Key:
    """Key pair: the public key and its seed, both in NATS's encoding."""

    public: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, kind: Kind) -> "Key":
        """Return a new key."""
        return cls.of(nkeys.encode_seed(secrets.token_bytes(32), kind))

    @classmethod
    def of(cls, seed: bytes) -> "Key":
        """Return the key of a seed; raises `ValueError`, which quotes nothing of the seed."""
        prefix = _PREFIXES.get(seed[:2])
        if prefix is None or not _SEED.fullmatch(seed):
            raise ValueError("not the seed of an operator, an account or a user")
        try:
            _, raw = nkeys.decode_seed(seed)
        except nkeys.NkeysError:
            raise ValueError("a seed with an invalid checksum") from None
        if nkeys.encode_seed(raw, prefix) != seed:  # nkeys does not check the checksum
            raise ValueError("a seed with an invalid checksum")
        return cls(nkeys.from_seed(seed).public_key.decode(), seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        signature: bytes = nkeys.from_seed(self.seed).sign(message)
        return signature


@dataclass(frozen=True, slots=True)
class IssuedUser:
    """NATS user issued to a principal: its signing key's public key, and its `.creds` file."""

    material: str
    creds: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Creds:
    """Content of a `.creds` file: a user's JWT, its key, and the JWT's claims."""

    token: str = field(repr=False)
    key: Key
    claims: Claims = field(repr=False)


def raw_public_key(text: str, kind: Kind) -> bytes:
    """Return the 32 bytes of a public key of this kind; raises `ValueError` for any other text."""
    try:
        raw = base64.b32decode(text) if len(text) == _PUBLIC_LETTERS else b""
    except ValueError:
        raw = b""
    whole = len(raw) == _PUBLIC_BYTES and base64.b32encode(raw).decode() == text
    if not whole or raw[0] != kind or nkeys.crc16_checksum(raw[:-2]) != raw[-2:]:
        raise ValueError(f"not the public key of a NATS {kind.name.lower()}")
    return raw[1:-2]


def is_account_key(text: str) -> bool:
    """Return whether a text is the public key of an account or of its signing key."""
    try:
        raw_public_key(text, Kind.ACCOUNT)
    except ValueError:
        return False
    return True


def encode(claims: Mapping[str, Any], issuer: Key, issued_at: int) -> str:
    """Return a signed JWT of claims, with new `iss`, `iat` (Unix time in seconds) and `jti`.

    `jti` is a hash of all claims, because the servers of a cluster treat two JWTs with the same
    `jti` as equal.
    """
    fresh = {**claims, "iss": issuer.public, "iat": issued_at, "jti": ""}
    digest = hashlib.new("sha512_256", _json(fresh)).digest()
    fresh["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_HEADER}.{base64url.encode(_json(fresh))}"
    return f"{signed}.{base64url.encode(issuer.sign(signed.encode()))}"


def issued_at(claims: Claims) -> int:
    """Return the Unix time at which claims were issued, 0 if it is missing or is no integer."""
    found = claims.get("iat")
    return found if isinstance(found, int) else 0


def decode(token: str, kind: Kind) -> Claims:
    """Return the claims of a JWT that is signed by its own `iss`, a key of this kind.

    Raises `ValueError`, which quotes nothing of the JWT. The caller must check whether to trust
    `iss`.
    """
    parts = token.split(".")
    if len(token) > MAX_JWT or len(parts) != _PARTS:
        raise ValueError("not a JWT")
    header, claims = (_object(part) for part in parts[:2])
    if header != {"typ": "JWT", "alg": "ed25519-nkey"}:
        raise ValueError("a JWT with an algorithm other than ed25519-nkey")
    issuer = claims.get("iss")
    key = raw_public_key(issuer if isinstance(issuer, str) else "", kind)
    signed = token.rpartition(".")[0].encode()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(base64url.decode(parts[2]), signed)
    except InvalidSignature:
        raise ValueError("a JWT with an invalid signature") from None
    return claims


def issue_user(principal: str, account: str, issued_at: int) -> IssuedUser:
    """Return a new user for a principal, signed by a new key whose seed is not kept.

    The user's JWT has no permissions. They are in the scope of the signing key, in the account's
    JWT.
    """
    signer, user = Key.generate(Kind.ACCOUNT), Key.generate(Kind.USER)
    claims = {
        "jti": "",
        "iat": 0,
        "iss": "",
        "name": principal,
        "sub": user.public,
        "nats": {
            "pub": {},
            "sub": {},
            "issuer_account": account,
            "type": "user",
            "version": 2,
        },
    }
    token = encode(claims, signer, issued_at)
    return IssuedUser(signer.public, creds_file(token, user))


def creds_file(token: str, user: Key) -> str:
    """Return the `.creds` file of a user's JWT and key."""
    return _CREDS_FORM.format(jwt=token, seed=user.seed.decode())


def read_creds(text: str) -> Creds:
    """Return the content of a `.creds` file; raises `ValueError`, which quotes nothing of it."""
    blocks = _blocks(text) if len(text) <= MAX_CREDS else []
    if len(blocks) != 2:  # noqa: PLR2004 - the JWT and the seed
        raise ValueError("not a NATS .creds file")
    token, seed = blocks
    claims, key = decode(token, Kind.ACCOUNT), Key.of(seed.encode())
    if claims.get("sub") != key.public:
        raise ValueError("a .creds file whose seed does not belong to its JWT")
    return Creds(token, key, claims)


def _blocks(text: str) -> list[str]:
    """Return each single line between two lines that begin and end with dashes."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    ruled = [line.startswith(_RULE) and line.endswith(_RULE) for line in lines]
    found, at = [], 0
    while at + 2 < len(lines):
        if ruled[at] and ruled[at + 2] and not ruled[at + 1]:
            found.append(lines[at + 1])
            at += _BLOCK
        else:
            at += 1
    return found


def _object(part: str) -> Claims:
    document = strict_json.parse(base64url.decode(part))
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - an invalid value
    return document


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
