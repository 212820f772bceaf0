"""Vectors of the section Seal: envelope, payload, signature."""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from website.event_vectors import scene
from website.event_vectors.certificates import leaf
from website.event_vectors.events import (
    PAYLOAD_TYPE,
    SIGNED,
    Event,
    Vector,
    envelope,
    event,
    payload,
    to_sign,
    unsealed,
    vector,
)
from website.event_vectors.keys import Key, both_ecdsa, ed25519_key, p256, p384, pss, rsa_key, sign
from website.event_vectors.scene import CHECKOUT, ORDER, PRODUCER, ROOT

ACCEPTED, MALFORMED, INVALID = "Accepted", "Malformed", "SignatureInvalid"
KEYS: Mapping[str, Key] = {
    "p384": p384("checkout"),
    "ed25519": ed25519_key("checkout"),
    "rsa-2048": rsa_key("checkout"),
}
LEAVES = {name: leaf(ROOT, key, [CHECKOUT]) for name, key in KEYS.items()}
ATTRIBUTES = unsealed()
PAYLOAD = payload(ATTRIBUTES, ORDER)
SIGNATURE = sign(PRODUCER.key, to_sign(PAYLOAD))


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    yield from _algorithms()
    yield from _edits()
    yield from _envelopes()
    yield from _payloads()
    yield from _signatures()


def _sealed(material: str, attributes: Mapping[str, str] = ATTRIBUTES) -> Event:
    return Event({**attributes, "dssematerial": material}, ORDER)


def _algorithms() -> Iterator[Vector]:
    for name, by in LEAVES.items():
        for binding in ("Kafka", "NATS"):
            yield vector(
                f"{binding.lower()}-{name}", "the key of the leaf fixes the algorithm", ACCEPTED,
                event(by), binding=binding,
            )  # fmt: skip


def _edits() -> Iterator[Vector]:
    """Edits of a sealed event: of each attribute, of the data, and moves between attributes."""
    whole = event(
        subject="order/7", authtype="app_user", authid="customer-42", trothtenant="acme",
        trothtxn="t-1",
    )  # fmt: skip
    rule = "the payload is the one computed from the message"
    edits = {
        "id": "another",
        "source": scene.ABROAD,
        "type": "shop.order.cancelled",
        "datacontenttype": "text/plain",
        "dataschema": scene.data_schema(scene.PREVIOUS),
        "subject": "order/8",
        "time": "2026-11-28T12:00:01Z",
        "trothpolicy": "shop/refunds",
        "trothbroker": "shop/other",
        "trothtopic": "prod.refunds.v1",
        "trothenvironment": "staging",
        "authtype": "system",
        "authid": "customer-43",
        "trothtenant": "globex",
        "trothtxn": "t-2",
        "trothtxntoken": "a.b.c",
        "trothchain": LEAVES["p384"].chain,
    }
    for name, value in edits.items():
        yield vector(f"edited-{name}", rule, INVALID, whole.edited(**{name: value}))
    for name in ("dataschema", "subject", "authtype", "authid", "trothtenant", "trothtxn"):
        yield vector(f"removed-{name}", rule, INVALID, whole.edited(**{name: None}))
    yield vector("added-trothtenant", rule, INVALID, event().edited(trothtenant="acme"))
    swapped = whole.edited(authid="acme", trothtenant="customer-42")
    yield vector("swapped-attributes", rule, INVALID, swapped)
    yield vector("edited-data", rule, INVALID, event().with_data(b'{"sku":"A-1","quantity":3}'))
    yield vector("other-spelling-of-data", rule, INVALID, event().with_data(ORDER + b"\n"))
    yield vector("no-data-left", rule, INVALID, event().with_data(b""))
    other = event(id="another")
    moved = event().edited(dssematerial=other.attributes["dssematerial"])
    yield vector("seal-of-another-event", rule, INVALID, moved)


def _envelopes() -> Iterator[Vector]:
    rule = "the envelope has exactly these bytes"

    def made(**form: str) -> Event:
        return _sealed(envelope(PAYLOAD, SIGNATURE, PRODUCER.key_id, **form))

    first = '"payload":"%(payload)s"'
    kind = '"payloadType":"%(type)s"'
    last = '"signatures":[%(signature)s]'
    plain = f"{{{first},{kind},{last}}}"
    forms = {
        "order-of-members": f"{{{kind},{first},{last}}}",
        "spaces": plain.replace(",", ", ").replace(":", ": "),
        "line-break-at-the-end": plain + "\n",
        "unknown-member": plain[:-1] + ',"more":1}',
        "repeated-member": plain[:-1] + f",{kind}}}",
        "escaped-letter": plain.replace('"payload"', '"\\u0070ayload"'),
        "escaped-solidus": plain.replace("%(type)s", PAYLOAD_TYPE.replace("/", "\\/")),
        "two-signatures": plain.replace("%(signature)s", "%(signature)s,%(signature)s"),
        "no-signature": plain.replace("%(signature)s", ""),
        "payload-type": plain.replace("%(type)s", "application/vnd.in-toto+json"),
        "payload-type-v0.2": plain.replace("%(type)s", PAYLOAD_TYPE.replace("v0.1", "v0.2")),
        "no-payload-type": f"{{{first},{last}}}",
        "empty-payload": plain.replace("%(payload)s", ""),
        "payload-base64url": plain.replace("%(payload)s", b64encode(PAYLOAD).decode().rstrip("=")),
    }  # fmt: skip
    if len(PAYLOAD) % 3 == 0:  # the unpadded text must differ
        forms["payload-base64url"] = plain.replace("%(payload)s", "%(payload)s=")
    for name, form in forms.items():
        yield vector(f"envelope-{name}", rule, MALFORMED, made(form=form))
    items = {
        "no-keyid": '{"sig":"%(sig)s"}',
        "empty-keyid": '{"keyid":"","sig":"%(sig)s"}',
        "padded-keyid": '{"keyid":"%(keyid)s=","sig":"%(sig)s"}',
        "order-in-signature": '{"sig":"%(sig)s","keyid":"%(keyid)s"}',
        "certificate-in-signature": '{"keyid":"%(keyid)s","sig":"%(sig)s","cert":"x"}',
        "empty-sig": '{"keyid":"%(keyid)s","sig":""}',
        "line-break-in-sig": '{"keyid":"%(keyid)s","sig":"\\n%(sig)s"}',
    }
    for name, item in items.items():
        yield vector(f"envelope-{name}", rule, MALFORMED, made(item=item))
    material = envelope(PAYLOAD, SIGNATURE, PRODUCER.key_id)
    spellings = {
        "no-base64": "seal",
        "without-padding": material.rstrip("=") if material.endswith("=") else f"{material}=",
        "trailing-bits": _with_trailing_bits(),
        "line-break": f"{material[:76]}\n{material[76:]}",
        "space-before": f" {material}",
        "json": b64decode(material).decode(),
    }
    for name, text in spellings.items():
        yield vector(
            f"seal-{name}", "base64 is that of RFC 4648, section 4, with padding", MALFORMED,
            _sealed(text),
        )  # fmt: skip


def _with_trailing_bits() -> str:
    """Return a seal in a second spelling, which most decoders read as the first one."""
    key_id, signature = PRODUCER.key_id, SIGNATURE
    for tenant in "abcdefgh":  # until the length leaves bits over
        attributes = {**ATTRIBUTES, "trothtenant": tenant}
        signed = payload(attributes, ORDER)
        signature = sign(PRODUCER.key, to_sign(signed))
        material = envelope(signed, signature, key_id)
        if material.endswith("="):
            break
    body = material.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(body[-1]) + 1]
    return body[:-1] + last + material[len(body) :]


def _payloads() -> Iterator[Vector]:
    rule = "the payload has exactly these bytes and names"
    names = SIGNED
    lists = {
        "order-of-names": (*names[1:], names[0]),
        "name-left-out": tuple(each for each in names if each != "trothtenant"),
        "name-repeated": (*names, names[0]),
        "name-added": (*names, "other"),
        "no-names": (),
    }
    payloads = {name: payload(ATTRIBUTES, ORDER, listed) for name, listed in lists.items()}
    payloads |= {
        "spaces": PAYLOAD.replace(b",", b", "),
        "line-break": PAYLOAD + b"\n",
        "order-of-members": _reordered(PAYLOAD),
        "unknown-member": PAYLOAD[:-1] + b',"more":1}',
        "no-json": b"core",
        "digest-in-hexadecimal": _hexadecimal(PAYLOAD),
    }
    for name, signed in payloads.items():
        material = envelope(signed, sign(PRODUCER.key, to_sign(signed)), PRODUCER.key_id)
        yield vector(f"payload-{name}", rule, INVALID, _sealed(material))
    # Only for those who do not compare: an empty attribute has the digest of an absent one.
    yield vector("empty-for-absent", "an attribute is not empty", MALFORMED).with_headers(
        ("ce_trothtenant", "")
    )


def _reordered(signed: bytes) -> bytes:
    core, ext, rest = signed[1:-1].split(b",", 2)
    return b"{" + b",".join((ext, core, rest)) + b"}"


def _hexadecimal(signed: bytes) -> bytes:
    core = signed.split(b'"')[3]
    return signed.replace(core, b64decode(core).hex().encode(), 1)


def _signatures() -> Iterator[Vector]:
    rule = "the signature is valid, in its one form"
    bytes_ = to_sign(PAYLOAD)
    low, high = both_ecdsa(p256("checkout"), bytes_)
    ecdsa = {
        "high-s": high,
        "of-another-key": sign(p256("another"), bytes_),
        "of-the-payload": sign(PRODUCER.key, PAYLOAD),
        "of-another-type": sign(PRODUCER.key, to_sign(PAYLOAD, "application/json")),
        "long-length": low[:1] + b"\x81" + low[1:],
        "zero-before-r": _with_zero(low),
        "byte-after": low + b"\x00",
        "two-numbers": _numbers(low),
        "zeros": bytes.fromhex("3006020100020100"),
        "sha-384": p256("checkout").sign(
            bytes_, ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
        ),
    }
    for name, signature in ecdsa.items():
        material = envelope(PAYLOAD, signature, PRODUCER.key_id)
        yield vector(f"signature-{name}", rule, INVALID, _sealed(material))
    p384_leaf = LEAVES["p384"]
    yield from _by(
        "p384",
        {
            "high-s": both_ecdsa(p384("checkout"), _bytes("p384"))[1],
            "sha-256": p384("checkout").sign(
                _bytes("p384"), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            ),
        },
    )
    yield from _by("ed25519", {"cut": sign(KEYS["ed25519"], _bytes("ed25519"))[:-1]})
    key = rsa_key("checkout")
    yield from _by(
        "rsa-2048",
        {
            "pkcs1": key.sign(_bytes("rsa-2048"), padding.PKCS1v15(), hashes.SHA256()),
            "salt-of-20": pss(key, _bytes("rsa-2048"), salt=bytes(20)),
            "no-salt": pss(key, _bytes("rsa-2048"), salt=b""),
        },
    )
    wrong = {
        "of-another-leaf": p384_leaf.key_id,
        "of-zeros": "A" * 43,
        "with-trailing-bits": f"{PRODUCER.key_id[:-1]}{_next(PRODUCER.key_id[-1])}",
    }
    for name, key_id in wrong.items():
        material = envelope(PAYLOAD, SIGNATURE, key_id)
        yield vector(f"keyid-{name}", "keyid is that of the leaf", INVALID, _sealed(material))
    yield vector(
        "source-of-another", "source is the SPIFFE ID of the leaf", INVALID,
        event(source=scene.ABROAD),
    )  # fmt: skip


def _bytes(name: str) -> bytes:
    return to_sign(payload(unsealed(LEAVES[name]), ORDER))


def _by(name: str, signatures: Mapping[str, bytes]) -> Iterator[Vector]:
    by = LEAVES[name]
    attributes = unsealed(by)
    for fault, signature in signatures.items():
        material = envelope(payload(attributes, ORDER), signature, by.key_id)
        yield vector(
            f"signature-{name}-{fault}", "the signature is valid, in its one form", INVALID,
            _sealed(material, attributes),
        )  # fmt: skip


def _with_zero(der: bytes) -> bytes:
    """Return the signature with a needless zero before its first number."""
    size = der[3]
    return bytes((0x30, der[1] + 1, 0x02, size + 1, 0)) + der[4 : 4 + size] + der[4 + size :]


def _numbers(der: bytes) -> bytes:
    """Return the signature in the form of JOSE."""
    size = der[3]
    r, s = der[4 : 4 + size], der[6 + size :]
    return b"".join(int.from_bytes(each).to_bytes(32) for each in (r, s))


def _next(letter: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) + 1]
