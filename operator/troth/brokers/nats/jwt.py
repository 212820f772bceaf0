"""JWTs and keys of NATS in operator mode (docs.nats.io, "JWT in depth"; nats-io/jwt, version 2).

Keys are Ed25519, written in base32 with a letter for what they are: `O…` an operator, `A…` an
account, `U…` a user; their seeds begin with `SO`, `SA`, `SU`. A JWT says who signed it in `iss`,
and its header can say nothing but the one algorithm.
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

from troth.pki import base64url, strict_json

MAX_JWT = 1024 * 1024
"""Characters of a JWT; the server decodes none that is longer (nats-io/jwt, `MaxTokenSize`)."""
MAX_CREDS = 64 * 1024
"""Characters of a `.creds` file: room for a user with hundreds of permissions of its own."""

Claims = dict[str, Any]

_HEADER = base64url.encode(b'{"typ":"JWT","alg":"ed25519-nkey"}')
_PARTS = 3
_PUBLIC_LETTERS = 56
_PUBLIC_BYTES = 35  # the kind, 32 bytes of key, two of checksum
_SEED = re.compile(rb"S[OAU][A-Z2-7]{56}")
_RULE = "-" * 3
_BLOCK = 3  # lines: a rule, what is meant, and a rule

# The form that nsc writes and every client reads (ADR-14 of nats-architecture-and-design).
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
    """What a key is the key of; the value is its first byte."""

    OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
    ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
    USER = nkeys.PREFIX_BYTE_USER


_PREFIXES = {b"SO": Kind.OPERATOR, b"SA": Kind.ACCOUNT, b"SU": Kind.USER}


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair: the public key and the seed it is made from, both as NATS writes them."""

    public: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, kind: Kind) -> "Key":
        """Return a new key."""
        return cls.of(nkeys.encode_seed(secrets.token_bytes(32), kind))

    @classmethod
    def of(cls, seed: bytes) -> "Key":
        """Return the key of a seed; raises `ValueError`, which quotes nothing of it."""
        prefix = _PREFIXES.get(seed[:2])
        if prefix is None or not _SEED.fullmatch(seed):
            raise ValueError("not the seed of an operator, an account or a user")
        try:
            _, raw = nkeys.decode_seed(seed)
        except nkeys.NkeysError:
            raise ValueError("a seed with an invalid checksum") from None
        if nkeys.encode_seed(raw, prefix) != seed:  # its checksum, which nkeys does not look at
            raise ValueError("a seed with an invalid checksum")
        return cls(nkeys.from_seed(seed).public_key.decode(), seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        signature: bytes = nkeys.from_seed(self.seed).sign(message)
        return signature


@dataclass(frozen=True, slots=True)
class IssuedUser:
    """A user of one principal: what its broker must know, and the `.creds` file that proves it."""

    material: str
    creds: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Creds:
    """A user's JWT, its key, and what the JWT says."""

    token: str = field(repr=False)
    key: Key
    claims: Claims = field(repr=False)


def raw_public_key(text: str, kind: Kind) -> bytes:
    """Return the 32 bytes of a public key of that kind; raises `ValueError` for anything else."""
    try:
        raw = base64.b32decode(text) if len(text) == _PUBLIC_LETTERS else b""
    except ValueError:
        raw = b""
    whole = len(raw) == _PUBLIC_BYTES and base64.b32encode(raw).decode() == text
    if not whole or raw[0] != kind or nkeys.crc16_checksum(raw[:-2]) != raw[-2:]:
        raise ValueError(f"not the public key of a NATS {kind.name.lower()}")
    return raw[1:-2]


def is_account_key(text: str) -> bool:
    """Whether a text is the public key of an account, or one that signs for an account."""
    try:
        raw_public_key(text, Kind.ACCOUNT)
    except ValueError:
        return False
    return True


def encode(claims: Mapping[str, Any], issuer: Key, issued_at: int) -> str:
    """Sign claims; `iss`, `iat` (Unix time in seconds) and `jti` are set anew.

    `jti` is over all claims: servers of a cluster take two JWTs with one `jti` for the same.
    """
    fresh = {**claims, "iss": issuer.public, "iat": issued_at, "jti": ""}
    digest = hashlib.new("sha512_256", _json(fresh)).digest()
    fresh["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_HEADER}.{base64url.encode(_json(fresh))}"
    return f"{signed}.{base64url.encode(issuer.sign(signed.encode()))}"


def decode(token: str, kind: Kind) -> Claims:
    """Return the claims of a JWT signed by a key of that kind, its own `iss`.

    Raises `ValueError`, which quotes nothing of it. Whether `iss` is to be trusted is for the
    caller to know.
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
    """Make a user of a principal, signed by a key of its own, whose seed is not kept.

    The JWT has no permissions: they are in the scope of the signing key, in the account's JWT.
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
    """Return what a `.creds` file holds; `ValueError` quotes nothing of it."""
    blocks = _blocks(text) if len(text) <= MAX_CREDS else []
    if len(blocks) != 2:  # noqa: PLR2004 - the JWT and the seed
        raise ValueError("not a NATS .creds file")
    token, seed = blocks
    claims, key = decode(token, Kind.ACCOUNT), Key.of(seed.encode())
    if claims.get("sub") != key.public:
        raise ValueError("a .creds file whose seed does not belong to its JWT")
    return Creds(token, key, claims)


def _blocks(text: str) -> list[str]:
    """Return what stands alone between two lines that begin and end with dashes."""
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
        raise ValueError("not a JSON object")  # noqa: TRY004 - a value from outside
    return document


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
