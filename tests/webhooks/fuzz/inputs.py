"""Fuzz targets of schemes and commands, one function each.

Each takes any bytes and fails by whatever escapes that is not the parser's own word. Both fuzzers
call them: hypothesis with bytes that look right (`shapes`), atheris with bytes that cover code.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from troth.cli.webhook.curl import CurlError, read_curl, write_curl
from troth.cli.webhook.diagnosis import KeyText, Refused, hints
from troth.cli.webhook.render import raw
from troth.cli.webhook.request import NotARequestError, read_request
from troth.cli.webhook.verify import VerifyInput, judge
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.addresses import Address
from troth.webhooks.schemes.providers.http_signatures.structured import (
    read_digests,
    read_signatures,
)
from troth.webhooks.schemes.providers.sns.certificate_urls import is_certificate_url
from troth.webhooks.schemes.registry import scheme_for, usable_for
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Scheme, Stamp

NOW = 1_700_000_000
URL = "https://hooks.example.com/shop/x"
TOPIC = "arn:aws:sns:us-west-2:123456789012:orders"
BODY = b'{"id": "evt_1", "type": 2}'
WHSEC = b"whsec_" + base64.b64encode(bytes(range(32)))
DESCRIBED = Described(
    header="x-sig",
    signed="{timestamp}.{id}.{method} {body}",
    timestamp_header="x-time",
    id_header="x-id",
)
TEXTS = {
    SchemeName.STANDARD_WEBHOOKS: WHSEC,
    SchemeName.GITLAB: WHSEC,
    SchemeName.STRIPE: WHSEC,
    SchemeName.PADDLE: b"pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
    SchemeName.HTTP_SIGNATURES: b"hmac-sha256:" + base64.b64encode(bytes(range(32))),
}


def private_pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache
def text_of(name: SchemeName) -> bytes:
    if name is SchemeName.DISCORD:
        return private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    if name is SchemeName.SNS:
        return private_pem(rsa.generate_private_key(65537, 2048))
    return TEXTS.get(name, b"a secret of some length")


@cache
def verifying_text(name: SchemeName) -> bytes:
    """The key that verifies: for SNS a certificate, which is read a hundred times as fast."""
    if name is not SchemeName.SNS:
        return text_of(name)
    key = load_pem_private_key(text_of(name), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins = datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=2))
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def signing(name: SchemeName) -> Signing:
    return Signing(
        name=name,
        url=URL,
        topics=(TOPIC,) if name is SchemeName.SNS else (),
        described=DESCRIBED if name is SchemeName.HMAC else None,
    )


@cache
def scheme(name: SchemeName) -> Scheme:
    return scheme_for(signing(name))


@cache
def keys(name: SchemeName) -> tuple[Key, ...]:
    """The key that signs, and where there are keys of more kinds one of each."""
    made = [scheme(name).key("k", verifying_text(name))]
    if name is SchemeName.HTTP_SIGNATURES:
        for each in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())):
            pem = each.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            made.append(scheme(name).key(f"k{len(made)}", pem))
    return tuple(made)


@cache
def sample(name: SchemeName) -> Delivery:
    """A good delivery of a scheme."""
    bare = Delivery("POST", b"/shop/x?a=b", ((b"content-type", b"application/json"),), BODY)
    key = scheme(name).key("k", text_of(name))
    return scheme(name).sign(bare, key, Stamp(NOW, "delivery-1"))


def as_bytes(delivery: Delivery) -> bytes:
    """A delivery for a fuzzer to change: lines, whose first byte says the scheme."""
    lines = [delivery.method.encode() + b" " + delivery.target]
    lines += [name + b":" + value for name, value in delivery.headers]
    return b"\n".join(lines) + b"\n\n" + delivery.body


def from_bytes(text: bytes) -> Delivery:
    """Any bytes as a delivery, without a parser's help: all that a server might let through."""
    head, _, body = text.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    pairs = (line.partition(b":") for line in lines)
    headers = tuple((name.lower(), value) for name, _, value in pairs)
    return Delivery(method.decode("latin-1"), target, headers, body)


NAMES = tuple(SchemeName)


def in_a_sentence(error: Exception) -> None:
    assert str(error)


def _of(data: bytes) -> tuple[SchemeName, bytes]:
    return NAMES[(data[0] if data else 0) % len(NAMES)], data[1:]


def verify(data: bytes) -> None:
    """Every scheme over every delivery: verified, or refused in a sentence."""
    name, text = _of(data)
    delivery = from_bytes(text)
    try:
        verified = scheme(name).verify(delivery, keys(name), NOW, 300)
    except RefusedError as error:
        in_a_sentence(error)
        return
    assert verified.key_id.startswith("k")
    assert len(verified.replay) == sha256().digest_size
    if name is not SchemeName.GITLAB_TOKEN:
        # what is let through was signed: nothing but what `sample` has, or keys would be broken
        assert _content(name, delivery) == _content(name, sample(name))


def _content(name: SchemeName, delivery: Delivery) -> object:
    """What a signature has to hold fast of a delivery, as the target reads it."""
    if name is SchemeName.SNS:
        signed = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        message = json.loads(delivery.body)
        return [message.get(each) for each in signed]
    return delivery.body


def key(data: bytes) -> None:
    """Any text of a key, for every scheme."""
    for name in usable_for(data):
        made = scheme(name).key("k", data)
        assert data.decode("latin-1") not in repr(made) or data in (b"", b"k")
    try:
        scheme(_of(data)[0]).key("k", data[1:])
    except KeyFormatError as error:
        in_a_sentence(error)


def structured(data: bytes) -> None:
    """The structured fields of HTTP message signatures."""
    first, _, second = data.partition(b"\n")
    delivery = Delivery("POST", b"/", ((b"signature-input", first), (b"signature", second)), b"")
    try:
        for each in read_signatures(delivery):
            assert each.text.isascii()
            for name in ("keyid", "nonce", "alg", "tag"):
                each.text_of(name)
            each.time_of("created")
    except RefusedError as error:
        in_a_sentence(error)
    try:
        assert all(
            isinstance(each, bytes) for each in read_digests(data.decode("latin-1")).values()
        )
    except RefusedError as error:
        in_a_sentence(error)


def addresses(data: bytes) -> None:
    """URLs: the endpoint's, and where a certificate is."""
    text = data.decode("latin-1")
    if is_certificate_url(text):
        assert text.startswith("https://sns.")
        host = text.split("/")[2]
        assert host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    try:
        address = Address.parse(text)
    except ValueError as error:
        in_a_sentence(error)
        return
    assert address.authority == address.authority.lower()
    assert "@" not in address.authority
    assert text in (address.with_port(), address.without_port())


def request(data: bytes) -> None:
    """A saved request, raw or as a curl line; one that is read is written and read again."""
    try:
        given = read_request(data)
    except NotARequestError as error:
        in_a_sentence(error)
        return
    again = read_request(raw(given.delivery, "a.example")).delivery
    # a length that was wrong is right now, so no more than that can differ
    assert (again.method, again.target, again.body) == (
        given.delivery.method,
        given.delivery.target,
        given.delivery.body,
    )


def curl(data: bytes) -> None:
    """A curl line; one that is read is written and read again."""
    try:
        line = read_curl(b"curl " + data)
        written = write_curl(line.delivery, line.url)
    except CurlError as error:
        in_a_sentence(error)
        return
    again = read_curl(written.encode())
    assert (again.url, again.delivery.target) == (line.url, line.delivery.target)
    assert again.delivery.body == line.delivery.body


def diagnosis(data: bytes) -> None:
    """What is said of any delivery: an answer to each check, and never the secret."""
    name, text = _of(data)
    delivery = from_bytes(text)
    of = KeyText("k", verifying_text(name))
    judgement = judge(VerifyInput(delivery, signing(name), (of,), NOW, 300))
    said = hints(Refused(delivery, signing(name), (of,), NOW, Reason.SIGNATURE_WRONG))
    shown = " ".join((*said, *judgement.hints, *(each.sentence for each in judgement.checks)))
    assert text_of(name).decode() not in shown
    assert (judgement.verified is None) is bool(judgement.codes)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "verify": verify,
    "key": key,
    "structured": structured,
    "addresses": addresses,
    "request": request,
    "curl": curl,
    "diagnosis": diagnosis,
}


def seeds(target: str) -> list[bytes]:
    """Good inputs of a target, to begin with."""
    match target:
        case "verify" | "diagnosis":
            return [bytes((number,)) + as_bytes(sample(name)) for number, name in enumerate(NAMES)]
        case "key":
            return [verifying_text(name) for name in NAMES]
        case "structured":
            of = sample(SchemeName.HTTP_SIGNATURES)
            texts = [of.header(name) for name in (b"signature-input", b"signature")]
            return ["\n".join(texts).encode(), of.header(b"content-digest").encode()]
        case "addresses":
            pem = "/SimpleNotificationService-0a1b.pem"
            hosts = ("us-west-2.amazonaws.com", "cn-north-1.amazonaws.com.cn")
            return [URL.encode(), *(f"https://sns.{host}{pem}".encode() for host in hosts)]
        case "request":
            return [raw(sample(name), "a.example") for name in NAMES]
        case _:
            of = sample(SchemeName.GITHUB)
            return [write_curl(of, URL).removeprefix("curl ").encode()]
