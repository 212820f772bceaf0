"""Vectors of the producer's certificates: chain, trust domain, validity."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from website.event_vectors.certificates import DAY, TIME, Made, authority, joined, leaf
from website.event_vectors.events import Vector, event, vector, written_time
from website.event_vectors.keys import p256, p521, rsa_key
from website.event_vectors.scene import (
    ABROAD,
    CHECKOUT,
    DOMAIN,
    EVENT_TIME,
    PARTNER,
    PARTNER_ROOT,
    PRODUCER,
    ROOT,
    Retired,
    bundle_map,
)

ACCEPTED, INVALID = "Accepted", "CertificateInvalid"
KEY = p256("checkout")
SECOND = timedelta(seconds=1)
UPPER = authority("upper", ROOT)
LOWER = authority("lower", UPPER)


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    yield from _domains()
    yield from _chains()
    yield from _encodings()
    yield from _leaves()
    yield from _authorities()
    yield from _validity()
    yield from _retirement()


def _of(by: Made, uri: str = CHECKOUT) -> Made:
    """Return a leaf of an authority."""
    return leaf(by, KEY, [uri])


def _domains() -> Iterator[Vector]:
    rule = "an authority of the trust domain that the leaf's SPIFFE ID names"
    yield vector("partner", rule, ACCEPTED, event(_of(PARTNER_ROOT, ABROAD), source=ABROAD))
    yield vector("root-of-another-domain", rule, INVALID, event(_of(PARTNER_ROOT)))
    yield vector(
        "own-root-for-another-domain", rule, INVALID, event(_of(ROOT, ABROAD), source=ABROAD)
    )
    stranger = "spiffe://stranger.example/ns/shop/sa/checkout"
    yield vector("unknown-domain", rule, INVALID, event(_of(ROOT, stranger), source=stranger))
    yield vector("unknown-root", rule, INVALID, event(_of(authority("stranger"))))
    yield vector("removed-root", rule, INVALID, bundles=bundle_map(authority("next")))
    yield vector("root-of-the-same-name", rule, INVALID, event(_of(_twin(ROOT))))


def _twin(of: Made) -> Made:
    """Return a root with the name of another, and a key of its own."""
    return Made(of.certificate, p256("twin"))


def _chains() -> Iterator[Vector]:
    rule = "the chain leads to an authority, each certificate issued by the next"
    below = _of(LOWER)
    yield vector("two-intermediates", rule, ACCEPTED, event(below))
    yield vector("kafka-and-nats-intermediates", rule, ACCEPTED, event(below), binding="NATS")
    lower, upper, root = LOWER.der, UPPER.der, ROOT.der
    chains = {
        "missing-intermediate": (lower,),
        "missing-upper": (),
        "order": (upper, lower),
        "repeated-intermediate": (lower, lower, upper),
        "unrelated-certificate": (lower, upper, authority("unrelated").der),
        "six-certificates": (lower, upper, upper, upper, upper),
    }
    for name, ders in chains.items():
        chain = joined(below.der, *ders)
        yield vector(f"chain-{name}", rule, INVALID, event(below, trothchain=chain))
    yield vector(
        "chain-leaf-last", rule, INVALID,
        event(below, trothchain=joined(lower, upper, below.der)),
    )  # fmt: skip
    yield vector(
        "chain-other-leaf", "the signature is by the key of the leaf", "SignatureInvalid",
        event(PRODUCER, trothchain=leaf(ROOT, p256("another"), [CHECKOUT]).chain),
    )  # fmt: skip
    skipped = "an authority of the bundle in the chain is skipped"
    yield vector("root-in-chain", skipped, ACCEPTED,
                 event(below, trothchain=joined(below.der, lower, upper, root)))  # fmt: skip
    yield vector(
        "foreign-root-in-chain", rule, INVALID,
        event(PRODUCER, trothchain=joined(PRODUCER.der, authority("stranger").der)),
    )  # fmt: skip
    yield vector(
        "intermediate-as-authority", "an authority need not be a root", ACCEPTED, event(below),
        bundles=bundle_map(UPPER),
    )  # fmt: skip


def _encodings() -> Iterator[Vector]:
    rule = "each certificate in DER and base64, joined by dots"
    text = b64encode(PRODUCER.der).decode()
    broken = bytearray(PRODUCER.der)
    broken[5] ^= 0xFF
    chains = {
        "no-base64": "certificate",
        "dot-at-the-end": f"{text}.",
        "dot-first": f".{text}",
        "comma": f"{text},{b64encode(UPPER.der).decode()}",
        "line-break": f"{text[:64]}\n{text[64:]}",
        "without-padding": text.rstrip("=") if text.endswith("=") else f"{text}=",
        "base64url": text.replace("+", "-").replace("/", "_"),
        "no-certificate": b64encode(b"certificate").decode(),
        "broken-certificate": b64encode(bytes(broken)).decode(),
        "byte-after-certificate": b64encode(PRODUCER.der + b"\x00").decode(),
        "trailing-bits": _with_trailing_bits(),
    }
    for name, chain in chains.items():
        yield vector(f"chain-{name}", rule, INVALID, event(trothchain=chain))


def _with_trailing_bits() -> str:
    """Return a chain of one certificate in a second spelling, which most decoders accept."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for name in ("checkout", "a", "bb", "ccc", "dddd"):  # until the length leaves bits over
        uri = f"spiffe://{DOMAIN}/ns/shop/sa/{name}"
        text = b64encode(leaf(ROOT, KEY, [uri]).der).decode()
        if text.endswith("="):
            break
    body = text.rstrip("=")
    return body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + text[len(body) :]


def _leaves() -> Iterator[Vector]:
    rule = "the leaf is an X509-SVID"
    leaves = {
        "is-authority": leaf(ROOT, KEY, [CHECKOUT], ca=True),
        "may-sign-certificates": leaf(ROOT, KEY, [CHECKOUT], signs=True),
        "two-uris": leaf(ROOT, KEY, [CHECKOUT, ABROAD]),
        "no-spiffe-id": leaf(ROOT, KEY, ["https://checkout.shop.example/"]),
        "unknown-critical-extension": leaf(
            ROOT,
            KEY,
            [CHECKOUT],
            extension=x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"
            ),
        ),
        "without-key-identifiers": leaf(ROOT, KEY, [CHECKOUT], identifiers=False),
        "p-521": leaf(ROOT, p521("checkout"), [CHECKOUT]),
        "rsa-1024": leaf(ROOT, rsa_key("checkout", 1024), [CHECKOUT]),
    }
    for name, by in leaves.items():
        yield vector(f"leaf-{name}", rule, INVALID, event(by))
    yield vector(
        "leaf-trust-domain-only", "the SPIFFE ID names a workload", INVALID,
        event(leaf(ROOT, KEY, [f"spiffe://{DOMAIN}"])),
    )  # fmt: skip


def _authorities() -> Iterator[Vector]:
    rule = "every certificate after the leaf is an authority that may issue it"
    confined = x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(PARTNER)], excluded_subtrees=None
    )
    excluding = x509.NameConstraints(
        permitted_subtrees=None, excluded_subtrees=[x509.UniformResourceIdentifier(DOMAIN)]
    )
    permitting = x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(DOMAIN)], excluded_subtrees=None
    )
    by = {
        "no-authority": authority("no authority", ROOT, ca=False),
        "path-too-long": authority("below", authority("no paths", ROOT, path_length=0)),
        "name-not-permitted": authority("confined", ROOT, constraints=confined),
        "name-excluded": authority("excluding", ROOT, constraints=excluding),
        "without-key-identifiers": authority("no identifiers", ROOT, identifiers=False),
        "for-servers-alone": authority("servers", ROOT, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
    }
    for name, issuer in by.items():
        yield vector(f"authority-{name}", rule, INVALID, event(_of(issuer)))
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    peers = authority("peers", ROOT, purposes=both)
    yield vector("authority-for-peers", rule, ACCEPTED, event(_of(peers)))
    allowed = authority("permitting", ROOT, constraints=permitting)
    yield vector("authority-name-permitted", rule, ACCEPTED, event(_of(allowed)))
    leaf_as_issuer = Made(PRODUCER.certificate, KEY, ())
    below = leaf(leaf_as_issuer, p256("below"), [CHECKOUT])
    chain = joined(below.der, PRODUCER.der)
    yield vector("authority-is-a-leaf", rule, INVALID, event(below, trothchain=chain))


def _validity() -> Iterator[Vector]:
    rule = "every certificate of the path is valid at the time of the event"

    def during(begins: datetime, ends: datetime, kind: str) -> Made:
        if kind == "leaf":
            return leaf(ROOT, KEY, [CHECKOUT], begins=begins, ends=ends)
        name = f"{kind} {begins} {ends}"
        upper = authority(name, None if kind == "root" else ROOT, begins=begins, ends=ends)
        return leaf(upper, KEY, [CHECKOUT])

    periods = {
        "first-second": (TIME, TIME + DAY, ACCEPTED),
        "before": (TIME + SECOND, TIME + DAY, INVALID),
        "last-second": (TIME - DAY, TIME + SECOND, ACCEPTED),
        "at-the-end": (TIME - DAY, TIME, INVALID),
    }
    for kind in ("leaf", "intermediate", "root"):
        for name, (begins, ends, verdict) in periods.items():
            by = during(begins, ends, kind)
            changed: dict[str, Any] = {}
            if kind == "root":
                upper = authority(f"root {begins} {ends}", begins=begins, ends=ends)
                changed = {"bundles": bundle_map(upper)}
            yield vector(f"{kind}-{name}", rule, verdict, event(by), **changed)
    older = authority("renewed", begins=TIME - 90 * DAY, ends=TIME + DAY)
    newer = authority("renewed", begins=TIME + SECOND, ends=TIME + 90 * DAY)
    rule = "one authority that is valid at the time of the event is enough"
    for name, roots in {"older-first": (older, newer), "newer-first": (newer, older)}.items():
        yield vector(
            f"renewed-root-{name}", rule, ACCEPTED, event(_of(older)), bundles=bundle_map(*roots)
        )
    yield vector("renewed-root-alone", rule, INVALID, event(_of(older)), bundles=bundle_map(newer))
    later = EVENT_TIME + 3 * 86400
    yield vector(
        "leaf-expired-since", "the chain is verified at the time of the event", ACCEPTED,
        now=later, storedAt=EVENT_TIME,
    )  # fmt: skip
    yield vector(
        "leaf-expired-then", "the chain is verified at the time of the event", INVALID,
        event(time=written_time(later)), now=later,
    )  # fmt: skip


def _retirement() -> Iterator[Vector]:
    rule = "a retired authority verifies events until 300 seconds after its retirement"
    next_root = authority("next")
    below = _of(LOWER)
    for name, retired, verdict in (
        ("long-before", EVENT_TIME + 86400, ACCEPTED),
        ("at-the-retirement", EVENT_TIME, ACCEPTED),
        ("300-s-after", EVENT_TIME - 300, ACCEPTED),
        ("301-s-after", EVENT_TIME - 301, INVALID),
        ("long-after", EVENT_TIME - 86400, INVALID),
        ("since-1970", 0, INVALID),
    ):
        bundles = bundle_map(next_root, ROOT, retired={ROOT: retired})
        yield vector(f"retired-root-{name}", rule, verdict, bundles=bundles)
        if name.startswith("30"):
            chain = joined(below.der, LOWER.der, UPPER.der, ROOT.der)
            sent = event(below, trothchain=chain)
            yield vector(f"retired-root-in-chain-{name}", rule, verdict, sent, bundles=bundles)
            yield vector(
                f"retired-intermediate-{name}", rule, verdict, event(below),
                bundles=bundle_map(next_root, UPPER, retired={UPPER: retired}),
            )  # fmt: skip
            yield vector(f"retired-only-root-{name}", rule, verdict,
                         bundles=bundle_map(ROOT, retired={ROOT: retired}))  # fmt: skip
    yield vector(
        "retired-root-of-others", "the retirement of one authority does not limit another",
        ACCEPTED, bundles=bundle_map(ROOT, next_root, retired={next_root: 0}),
    )  # fmt: skip
    yield vector(
        "retired-root-expired", "every certificate of the path is valid at the time of the event",
        INVALID, event(time=written_time(EVENT_TIME + 86400)), now=EVENT_TIME + 86400,
        bundles=bundle_map(ROOT, retired={ROOT: EVENT_TIME + 86400}),
    )  # fmt: skip
    yield from _renewed_and_retired()


def _renewed_and_retired() -> Iterator[Vector]:
    rule = "one authority that verifies the event is enough"
    older = authority("renewed")
    newer = authority("renewed", begins=TIME - DAY)
    ended = EVENT_TIME - 301
    of_one: Retired = {older: ended}
    of_both: Retired = {older: ended, newer: ended}
    for name, roots in {"older-first": (older, newer), "newer-first": (newer, older)}.items():
        for which, retired, verdict in (("one", of_one, ACCEPTED), ("both", of_both, INVALID)):
            yield vector(
                f"renewed-root-{name}-{which}-retired", rule, verdict, event(_of(older)),
                bundles=bundle_map(*roots, retired=retired),
            )  # fmt: skip
    # The leaf has two periods, with a gap between them.
    later = authority("renewed", begins=TIME + timedelta(hours=2))
    bundles = bundle_map(older, later, retired={older: EVENT_TIME})
    for name, after, verdict in (
        ("before-the-gap", 300, ACCEPTED),
        ("in-the-gap", 301, INVALID),
        ("after-the-gap", 7200, ACCEPTED),
    ):
        at = EVENT_TIME + after
        sent = event(_of(older), time=written_time(at))
        yield vector(f"renewed-root-{name}", rule, verdict, sent, now=at, bundles=bundles)
