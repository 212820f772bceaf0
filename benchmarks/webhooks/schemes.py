"""Time in which each scheme verifies a delivery of a kilobyte.

The floor is only one call of `hmac` with a constant-time comparison, or one verification by
`cryptography`, over as many bytes.
"""

import base64
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.harness.report import Comparison, Report
from benchmarks.harness.turns import compare, each_timed
from benchmarks.webhooks.sender import PATH, SECRET, body_of
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Stamp

ROUNDS, TIMES = 40, 50
"""Rounds, and verifications by each side in each round."""
URL = f"https://hooks.bench.example{PATH}"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:bench"
NOW, TOLERANCE = 1_700_000_000, 5.0
STAMP = Stamp(NOW, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")
PLAIN = b"a secret for measurements"
FORM = "application/x-www-form-urlencoded"
HTTP_HMAC = b"hmac-sha256:" + SECRET.removeprefix("whsec_").encode()

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """A scheme with a key, and its plain cryptographic call."""

    what: str
    name: SchemeName
    key: bytes
    bare: Callable[[bytes], Call]
    content_type: str = "application/json"
    described: Described | None = None

    def calls(self) -> tuple[Call, Call]:
        """Return the verification of a delivery, and the plain call."""
        sns = self.name is SchemeName.SNS
        scheme = scheme_for(
            Signing(
                name=self.name,
                url=URL,
                described=self.described,
                topics=(TOPIC,) if sns else (),
            )
        )
        key = scheme.key("k1", self.key)
        body = (
            b"note=" + b"x" * 1019 if self.content_type == FORM else body_of(700 if sns else 1024)
        )
        headers = ((b"host", b"hooks.bench.example"), (b"content-type", self.content_type.encode()))
        unsigned = Delivery("POST", PATH.encode(), headers, body)
        delivery, keys = scheme.sign(unsigned, key, STAMP), (key,)
        verify = scheme.verify
        return lambda: verify(delivery, keys, NOW, TOLERANCE), self.bare(delivery.body)


def schemes() -> Report:
    """Measure all schemes in this process."""
    rows = [_measured(case) for case in cases()]
    title = f"Webhooks: schemes, each {ROUNDS * TIMES} times"
    return Report(title, rows, "The floor is the bare call of hmac or cryptography.")


def _measured(case: Case) -> Comparison:
    verify, bare = case.calls()
    troth, floor = (partial(each_timed, [call] * TIMES) for call in (verify, bare))
    for side in (troth, floor):
        side()
    return compare(case.what, ROUNDS, lambda: (troth, floor))


def cases() -> Iterator[Case]:
    """Yield each scheme that signs."""
    mac = _mac("sha256")
    standard = SchemeName.STANDARD_WEBHOOKS
    yield Case("Standard Webhooks v1", standard, SECRET.encode(), mac)
    signing = ed25519.Ed25519PrivateKey.generate()
    yield Case("Standard Webhooks v1a", standard, _whsk(signing), _ed25519(signing))
    whsec = SchemeName.GITLAB, SchemeName.STRIPE
    plain = (
        *(SchemeName.GITHUB, SchemeName.BITBUCKET, SchemeName.SLACK, SchemeName.SHOPIFY),
        *(SchemeName.PADDLE, SchemeName.SQUARE),
    )
    shared = dict.fromkeys(whsec, SECRET.encode()) | dict.fromkeys(plain, PLAIN)
    for name, key in shared.items():
        yield Case(name, name, key, mac)
    yield Case("Twilio, a form", SchemeName.TWILIO, PLAIN, _mac("sha1"), FORM)
    described = Described(header="X-Signature")
    yield Case("HMAC, described", SchemeName.HMAC, PLAIN, mac, described=described)
    yield Case("Discord", SchemeName.DISCORD, pem(signing), _ed25519(signing))
    wide = rsa.generate_private_key(65537, 2048)
    yield Case("SNS, version 2", SchemeName.SNS, pem(wide), _rsa(wide))
    yield Case("HTTP signatures, HMAC", SchemeName.HTTP_SIGNATURES, HTTP_HMAC, mac)
    curve = ec.generate_private_key(ec.SECP256R1())
    http = SchemeName.HTTP_SIGNATURES
    yield Case("HTTP signatures, Ed25519", http, pem(signing), _ed25519(signing))
    yield Case("HTTP signatures, P-256", http, pem(curve), _ecdsa(curve))


# The plain calls


def _mac(digest: str) -> Callable[[bytes], Call]:
    def bare(body: bytes) -> Call:
        good = hmac.digest(PLAIN, body, digest)
        return lambda: hmac.compare_digest(hmac.digest(PLAIN, body, digest), good)

    return bare


def _ed25519(private: ed25519.Ed25519PrivateKey) -> Callable[[bytes], Call]:
    def bare(body: bytes) -> Call:
        public, signature = private.public_key(), private.sign(body)
        return lambda: public.verify(signature, body)

    return bare


def _rsa(private: rsa.RSAPrivateKey) -> Callable[[bytes], Call]:
    def bare(body: bytes) -> Call:
        padded, digest = padding.PKCS1v15(), SHA256()
        public, signature = private.public_key(), private.sign(body, padded, digest)
        return lambda: public.verify(signature, body, padded, digest)

    return bare


def _ecdsa(private: ec.EllipticCurvePrivateKey) -> Callable[[bytes], Call]:
    def bare(body: bytes) -> Call:
        algorithm = ec.ECDSA(SHA256())
        public, signature = private.public_key(), private.sign(body, algorithm)
        return lambda: public.verify(signature, body, algorithm)

    return bare


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _whsk(key: ed25519.Ed25519PrivateKey) -> bytes:
    raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return b"whsk_" + base64.b64encode(raw)
