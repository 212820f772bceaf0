"""Time in which each scheme rejects a delivery of an unknown sender.

The floor is SHA-256 over as many bytes as the sender must send for it: the body, or the headers if
the body is not looked at. So a ratio says how much work a byte of an attacker causes.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.harness.report import Comparison, Report
from benchmarks.harness.turns import compare, each_timed
from benchmarks.webhooks.schemes import FORM, HTTP_HMAC, NOW, PLAIN, STAMP, TOPIC, URL, cases, pem
from troth.documents.webhook_endpoint import Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, RefusedError
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Key, Scheme

ROUNDS, TIMES = 20, 5
"""Rounds, and rejections by each side in each round."""
SIZE = 256 * 1024
"""Size of a body in bytes, which is the default limit of an endpoint."""
TOLERANCE = 300.0

FORMS = {
    "% escapes": b"a=" + b"%41" * (SIZE // 3),
    "many fields": b"a=b&" * (SIZE // 4),
    "no escapes": b"a=" + b"x" * SIZE,
}
MESSAGES = {
    "empty objects": b'{"a":[' + b"{}," * (SIZE // 3) + b"{}]}",
    "nested lists": b'{"a":[' + b"[[[]]]," * (SIZE // 7) + b"[]]}",
    "members": b"{" + b",".join(b'"%d":1' % number for number in range(SIZE // 9)) + b"}",
    "escapes": b'{"Message":"' + b"\\u0041" * (SIZE // 6) + b'"}',
}
PARTS = 158
"""Items or parameters in a field of HTTP message signatures; a few more are rejected unparsed."""
FIELDS = {
    "components": "a=(" + " ".join(f'"a{number}"' for number in range(PARTS)) + ")",
    "parameters": 'a=("@method")' + "".join(f";p{number}" for number in range(PARTS)),
}


def reports() -> Iterator[Report]:
    """Measure each scheme, and the worst inputs of those that parse before they verify."""
    rows = [*_wrong_signatures(), *_forms(), *_messages(), *_signature_fields()]
    title = f"Webhooks: rejecting an unknown sender, each {ROUNDS * TIMES} times"
    yield Report(title, rows, "The floor is SHA-256 over the bytes that the sender must send.")


def _wrong_signatures() -> Iterator[Comparison]:
    """Yield each scheme with a large body that was changed after it was signed."""
    for case in cases():
        if case.name in {SchemeName.SNS, SchemeName.TWILIO}:
            continue
        scheme = scheme_for(Signing(name=case.name, url=URL, described=case.described))
        key = scheme.key("k1", case.key)
        headers = ((b"content-type", case.content_type.encode()),)
        signed = scheme.sign(Delivery("POST", b"/", headers, b"x" * SIZE), key, STAMP)
        wrong = replace(signed, body=signed.body[:-1] + b"y")
        if case.name is SchemeName.HTTP_SIGNATURES:  # their body is looked at last
            method = (b"signature-input", dict(signed.headers)[b"signature-input"] + b';tag="x"')
            wrong = replace(signed, headers=(*_without(signed, method[0]), method))
            yield _measured(case.what, scheme, (key,), wrong, _head(wrong))
        else:
            yield _measured(case.what, scheme, (key,), wrong, wrong.body)


def _forms() -> Iterator[Comparison]:
    scheme = scheme_for(Signing(name=SchemeName.TWILIO, url=URL))
    headers = (
        (b"content-type", FORM.encode()),
        (b"x-twilio-signature", b64encode(bytes(20))),
    )
    for what, body in FORMS.items():
        delivery = Delivery("POST", b"/", headers, body)
        yield _measured(f"Twilio, {what}", scheme, (scheme.key("k1", PLAIN),), delivery, body)


def _messages() -> Iterator[Comparison]:
    scheme = scheme_for(Signing(name=SchemeName.SNS, url=URL, topics=(TOPIC,)))
    key = scheme.key("k1", pem(rsa.generate_private_key(65537, 2048)))
    signed = scheme.sign(Delivery("POST", b"/", (), b"x" * SIZE), key, STAMP)
    wrong = signed.body.replace(b'"xx', b'"xy', 1)
    for what, body in ({"wrong signature": wrong} | MESSAGES).items():
        yield _measured(f"SNS, {what}", scheme, (key,), replace(signed, body=body), body)


def _signature_fields() -> Iterator[Comparison]:
    scheme = scheme_for(Signing(name=SchemeName.HTTP_SIGNATURES, url=URL))
    for what, text in FIELDS.items():
        headers = ((b"signature-input", text.encode()), (b"signature", b"a=:AAAA:"))
        delivery = Delivery("POST", b"/", headers, b"")
        keys = (scheme.key("k1", HTTP_HMAC),)
        yield _measured(f"HTTP signatures, {what}", scheme, keys, delivery, _head(delivery))


def _measured(
    what: str, scheme: Scheme, keys: Sequence[Key], delivery: Delivery, sent: bytes
) -> Comparison:
    def reject() -> None:
        try:
            scheme.verify(delivery, keys, NOW, TOLERANCE)
        except RefusedError:
            return
        raise AssertionError(f"{what} was accepted")

    def hash_them() -> None:
        sha256(sent).digest()

    troth, floor = (partial(each_timed, [call] * TIMES) for call in (reject, hash_them))
    for side in (troth, floor):
        side()
    return compare(what, ROUNDS, lambda: (troth, floor))


def _without(delivery: Delivery, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    return (pair for pair in delivery.headers if pair[0] != name)


def _head(delivery: Delivery) -> bytes:
    return b"".join(name + value for name, value in delivery.headers)
