"""HTTP message signatures (RFC 9421) over a digest of the content (RFC 9530).

The sender chooses what a signature covers, so the endpoint states the minimum: the method, the
target (`@target-uri`, or `@authority` with `@path` and `@query` or with `@request-target`), the
`content-digest`, the creation time, and the configured `components`. Host and path are those of the
configured URL.

Each key has one algorithm: `hmac-sha256:` before a secret in base64, a PEM of Ed25519 or P-256 as
it is, `rsa-pss-sha512:` or `rsa-v1_5-sha256:` before a PEM of RSA. `keyid` selects the key with
this name in the Secret, if there is one (some `keyid`s are not valid names there). `alg` must be
the key's algorithm. Neither can change how a key is used.

One valid signature of several is enough, because proxies add their own. While a key is rotated, a
sender may sign with both keys, either with the same nonce and time or without.
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256, sha512

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.addresses import Address, query_of
from troth.webhooks.schemes.fields.encodings import from_base64
from troth.webhooks.schemes.fields.identifiers import LONGEST, claimed_in_header, is_identifier
from troth.webhooks.schemes.fields.timestamps import check_time
from troth.webhooks.schemes.providers.http_signatures.signature_base import (
    METHOD,
    TARGET_URI,
    is_component,
    names_target,
    signature_base,
)
from troth.webhooks.schemes.providers.http_signatures.structured import (
    CONTENT_DIGEST,
    SIGNATURE,
    SIGNATURE_INPUT,
    Signed,
    parameters_text,
    read_digests,
    read_signatures,
    write,
)
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.asymmetric import (
    ECDSA_P256,
    RSA_PKCS1,
    RSA_PSS,
    Pair,
    is_for,
    is_signed,
    make_signature,
    read_pair,
)
from troth.webhooks.schemes.signatures.ed25519 import ED25519
from troth.webhooks.schemes.signatures.matching import HMAC_SHA256, make_mac

_NONCE = re.compile(rf';nonce="([^"\\]{{1,{LONGEST}}})"')
_DIGEST = CONTENT_DIGEST.decode()
_LABEL = "sig1"
_SHORTEST = 16
_PINNED = (HMAC_SHA256, ED25519, ECDSA_P256, RSA_PSS, RSA_PKCS1)
_DIGESTS = {"sha-256": sha256, "sha-512": sha512}
"""Supported digests. RFC 9530, section 5, calls all others insecure; they are ignored."""


class HTTPSignatures:
    """`Signature-Input`, `Signature` and `Content-Digest`."""

    signs_timestamp = True

    def __init__(self, url: str, components: Iterable[str] = ()) -> None:
        """`components` must be covered in addition; raises `ValueError` for an invalid one."""
        self._address = Address.parse(url)
        self._components = tuple(components)
        if not all(map(is_component, self._components)):
            raise ValueError(
                "a component is a header name in lower case, or a derived component such as @method"
            )

    def key(self, key_id: str, text: bytes) -> Key:
        """Return a key with its algorithm; raises `KeyFormatError`."""
        named, colon, rest = text.strip().partition(b":")
        pinned = named.decode("latin-1").strip() if colon else ""
        if pinned == HMAC_SHA256:
            return Key(key_id, HMAC_SHA256, _secret(rest))
        if pinned in _PINNED:
            return _pinned(key_id, pinned, read_pair(rest))
        pair = read_pair(text)
        for algorithm in (ED25519, ECDSA_P256):
            if is_for(pair.public, algorithm):
                return Key(key_id, algorithm, pair)
        raise KeyFormatError(
            f"an RSA key is for one algorithm; write {RSA_PSS}: or {RSA_PKCS1}: before it"
        )

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the facts that any of the signatures verifies; raises `RefusedError`.

        If all are invalid, the error is that of the first. If several are valid, all of them are
        known as one delivery; otherwise the delivery would be accepted once for each.
        """
        found: list[Verified] = []
        refused: RefusedError | None = None
        for signed in read_signatures(delivery):
            try:
                found.append(self._verified(delivery, signed, keys, now, tolerance))
            except RefusedError as error:
                refused = refused or error
        if not found:
            assert refused is not None
            raise refused
        if len({each.replay for each in found}) > 1:
            raise RefusedError(
                Reason.TOO_MANY_SIGNATURES,
                "several signatures are valid, and each could be accepted separately; give them "
                "one nonce",
            )
        return found[0]

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        text = claimed_in_header(delivery, SIGNATURE_INPUT) or ""
        found = _NONCE.search(text)
        return found[1] if found else None

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature; raises `KeyFormatError` for a public key."""
        content = write("sha-256", sha256(delivery.body).digest())
        delivery = delivery.with_headers([(_DIGEST, content)])
        covered = tuple(dict.fromkeys((METHOD, TARGET_URI, _DIGEST, *self._components)))
        parameters: dict[str, str | int] = {
            "created": stamp.now,
            "keyid": key.id,
            "alg": key.algorithm,
            "nonce": stamp.delivery_id,
        }
        text = parameters_text(covered, parameters)
        base = signature_base(delivery, self._address, covered, text)
        return delivery.with_headers(
            (
                (SIGNATURE_INPUT.decode(), f"{_LABEL}={text}"),
                (SIGNATURE.decode(), write(_LABEL, _signature(key, base))),
            )
        )

    def _verified(
        self,
        delivery: Delivery,
        signed: Signed,
        keys: Sequence[Key],
        now: float,
        tolerance: float,
    ) -> Verified:
        self._require(delivery, signed)
        created = _fresh(signed, now, tolerance)
        nonce = signed.text_of("nonce")
        base = signature_base(delivery, self._address, signed.covered, signed.text)
        key = _signer(_chosen(keys, signed), base, signed.signature)
        _check_content(delivery)
        # A replay is not recognized by the signature, because some can be re-encoded, nor by its
        # parameters, because one request has two sets of them while a key is rotated.
        content = base.rpartition(b"\n")[0]
        replay = (
            replay_of(b"nonce", nonce.encode())
            if nonce
            else replay_of(b"signed", content, str(created).encode())
        )
        return Verified(key.id, replay, nonce if is_identifier(nonce) else None, created)

    def _require(self, delivery: Delivery, signed: Signed) -> None:
        covered = frozenset(signed.covered)
        missing = [each for each in (METHOD, _DIGEST, *self._components) if each not in covered]
        if not names_target(covered, with_query=query_of(delivery) != ""):
            missing.append(TARGET_URI)
        if "created" not in signed.parameters:
            missing.append("created")
        if missing:
            raise RefusedError(
                Reason.NOT_COVERED, f"the signature does not cover {' and '.join(missing)}"
            )


def _secret(text: bytes) -> bytes:
    try:
        value = from_base64(text.strip().decode("ascii"))
    except ValueError:
        value = b""
    if len(value) < _SHORTEST:
        raise KeyFormatError(
            f"write {HMAC_SHA256}: followed by the base64 of at least {_SHORTEST} bytes"
        )
    return value


def _pinned(key_id: str, algorithm: str, pair: Pair) -> Key:
    if not is_for(pair.public, algorithm):
        raise KeyFormatError(f"the key does not fit the algorithm {algorithm}; correct one of them")
    return Key(key_id, algorithm, pair)


def _fresh(signed: Signed, now: float, tolerance: float) -> int:
    created, expires = signed.time_of("created"), signed.time_of("expires")
    assert created is not None
    check_time(created, now, tolerance)
    if expires is not None and expires < now:
        raise RefusedError(Reason.TIMESTAMP_TOO_OLD, "the signature has expired")
    return created


def _chosen(keys: Sequence[Key], signed: Signed) -> Sequence[Key]:
    named, algorithm = signed.text_of("keyid"), signed.text_of("alg")
    chosen = [key for key in keys if key.id == named] or list(keys)
    if algorithm is None:
        return chosen
    agreed = [key for key in chosen if key.algorithm == algorithm]
    if not agreed:
        raise RefusedError(
            Reason.SIGNATURE_WRONG, "the signature names an algorithm that none of its keys is for"
        )
    return agreed


def _signer(keys: Sequence[Key], base: bytes, signature: bytes) -> Key:
    for key in keys:
        if _is_by(key, base, signature):
            return key
    raise RefusedError(Reason.SIGNATURE_WRONG, "no key of the endpoint made the signature")


def _is_by(key: Key, base: bytes, signature: bytes) -> bool:
    if key.algorithm == HMAC_SHA256:
        return hmac.compare_digest(make_mac(key, base), signature)
    pair = key.material
    assert isinstance(pair, Pair)
    return is_signed(pair.public, key.algorithm, base, signature)


def _signature(key: Key, base: bytes) -> bytes:
    if key.algorithm == HMAC_SHA256:
        return make_mac(key, base)
    pair = key.material
    assert isinstance(pair, Pair)
    if pair.private is None:
        raise KeyFormatError("a public key; to sign, use the private key in PEM")
    return make_signature(pair.private, key.algorithm, base)


def _check_content(delivery: Delivery) -> None:
    """Raise `RefusedError` unless there is a supported digest, and all of those are the body's."""
    digests: Mapping[str, bytes] = read_digests(delivery.header(CONTENT_DIGEST))
    known = [(name, digests[name]) for name in _DIGESTS if name in digests]
    if not known:
        raise RefusedError(Reason.NOT_COVERED, "Content-Digest has neither sha-256 nor sha-512")
    for name, value in known:
        if not hmac.compare_digest(_DIGESTS[name](delivery.body).digest(), value):
            raise RefusedError(Reason.CONTENT_CHANGED, "Content-Digest does not match the body")
