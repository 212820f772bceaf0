"""Fuzz targets of the gateway and of its targets, one function each, as in `inputs`."""

import json
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from warnings import catch_warnings

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from tests.pki.builders import Made, by_hand
from tests.webhooks.fuzz.inputs import BODY, NOW, in_a_sentence
from tests.webhooks.gateway.running import SECRET, endpoint, target
from troth.documents.gateway_report import member, parse_member
from troth.documents.webhook_endpoint import ClientCertificate, EndpointError, parse_endpoint
from troth.edge.frameworks.uvicorn import _name as client_name
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS
from troth.pki.tokens.webhook import Signer, TokenError, VerifiedDelivery, verify_webhook_token
from troth.webhooks.gateway.answers import RefusalError
from troth.webhooks.gateway.certificates import is_public
from troth.webhooks.gateway.connection.body import (
    as_delivery,
    forwarded_headers,
    read_head,
)
from troth.webhooks.gateway.connection.client_certificates import ClientCertificates
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.routes import served

MOST_BODY = 1000
GATEWAY, TARGET = "spiffe://a.example/ns/g/sa/g", "spiffe://a.example/ns/t/sa/t"
BETWEEN = b"\n----\n"


def in_a_word(refusal: RefusalError) -> None:
    assert refusal.answered.status in {400, 413, 415, 431}
    assert refusal.answered.reason


def head(data: bytes) -> None:
    """A head as a server has parsed it, whatever that let through: read in one way, or refused."""
    first, *lines = data.split(b"\n")
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.lower(), value) for name, _, value in pairs]
    path, _, query = first.partition(b"?")
    scope = {"method": "POST", "raw_path": path, "query_string": query, "headers": headers}
    try:
        read = read_head(scope, MOST_BODY)
    except RefusalError as refusal:
        in_a_word(refusal)
        return
    there = dict(read)
    names = [name for name, _ in read]
    assert len(read) <= MAX_HEADERS
    assert sum(len(name) + len(value) for name, value in read) <= MAX_HEAD
    assert names.count(b"host") == 1
    assert there[b"host"]
    assert not {b"content-length", b"transfer-encoding"} <= there.keys()
    assert int(there.get(b"content-length", b"0")) <= MOST_BODY
    assert there.get(b"transfer-encoding", b"chunked").strip().lower() == b"chunked"
    assert there.get(b"content-encoding", b"identity").strip().lower() == b"identity"
    delivery = as_delivery(scope, read, BODY)
    for name, value in forwarded_headers(delivery, frozenset({b"x-event"})).items():
        assert name in {"Content-Type", "X-Event"}
        assert value == value.strip()
        assert value.isascii()
        assert value.isprintable()


def forwarded(data: bytes) -> None:
    """What proxies say: no address that stands before one that is no trusted proxy's."""
    first, *said = data.split(b"\n")
    connected = first.decode("latin-1")
    scope = {"client": (connected, 1), "headers": [(b"x-forwarded-for", each) for each in said]}
    trusted = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
    found = Proxies(map(str, trusted)).sender(scope)
    words = [each.strip().decode("latin-1") for each in b",".join(said).split(b",")]
    for word in (connected, *(reversed(words) if said else ())):
        address = _address(word)
        if address is None or not any(address in network for network in trusted):
            assert found == address
            return
    assert found == address


def _address(text: str) -> Any:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


_INSIDE: list[IPv4Network | IPv6Network] = [
    *map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    ),
    *map(
        IPv6Network,
        (
            *("::/127", "::ffff:10.0.0.0/104", "::ffff:127.0.0.0/104", "64:ff9b::a00:0/104"),
            *("64:ff9b::7f00:0/104", "64:ff9b::a9fe:0/112", "64:ff9b:1::/48", "2002::/16"),
            *("fc00::/7", "fe80::/10", "ff00::/8", "2001::/32", "2001:db8::/32", "100::/64"),
            *("::10.0.0.0/104", "::127.0.0.0/104", "::169.254.0.0/112"),
        ),
    ),
]


def public(data: bytes) -> None:
    """An address by its bytes: none of the networks within is one of the Internet."""
    if len(data) not in {4, 16}:
        return
    address = ip_address(data)
    within = any(address in each for each in _INSIDE if each.version == address.version)
    assert not (within and is_public(address))


@cache
def _senders() -> tuple[Made, Made, Made]:
    root = by_hand("a fuzzed root")
    between = by_hand("a fuzzed authority", root)
    return root, between, by_hand("a sender", between, ca=False, names=[x509.DNSName("a.example")])


def client_certificate(data: bytes) -> None:
    """A chain as TLS gives it: accepted is the one certificate that its root has issued."""
    root, _, leaf = _senders()
    accepts = ClientCertificates(
        ClientCertificate(sans=("DNS:a.example",), authorities=root.pem.decode())
    )
    parts = data.split(BETWEEN)
    chain = tuple(ssl.DER_cert_to_PEM_cert(each) for each in parts)
    now = leaf.certificate.not_valid_before_utc.timestamp() + 7200
    with catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
        accepted = accepts.accepts(chain, now)
        client_name(chain[0])
    if accepted:
        assert x509.load_der_x509_certificate(parts[0]) == leaf.certificate


def document(data: bytes) -> None:
    """An `endpoint.json`, and a key beside it: served as it says, or named as what is wrong."""
    text, _, key = data.partition(BETWEEN)
    try:
        found = served({"endpoint.json": text, "key.k1": key or SECRET.encode()}).endpoint
    except EndpointError as error:
        in_a_sentence(error)
        return
    assert found.path.startswith("/")
    assert found.path.isprintable()
    assert found.replay_window >= 2 * found.tolerance
    again = found.model_dump_json(by_alias=True)
    assert parse_endpoint(again) == found


@cache
def _signer() -> tuple[ec.EllipticCurvePrivateKey, Signer]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, Signer(key, GATEWAY)


_TXN = "00000000-0000-4000-8000-000000000009"


@cache
def _good_token() -> str:
    said = VerifiedDelivery("shop/orders", "settle", "Stripe", "k1", bytes(32), "evt_1")
    return _signer()[1].token(TARGET, said, transaction=_TXN, now=NOW)


def token(data: bytes) -> None:
    """A `Txn-Token` as a target reads it: the very one that was signed, or refused."""
    key, signer = _signer()
    try:
        said = verify_webhook_token(
            data.decode("latin-1"),
            keys={signer.kid: key.public_key()},
            gateway=GATEWAY,
            target=TARGET,
            now=NOW,
        )
    except TokenError as error:
        in_a_sentence(error)
        return
    assert (said.transaction, said.delivery.delivery_id) == (_TXN, "evt_1")
    # all but the signature, of which ECDSA has two
    assert data.decode().rpartition(".")[0] == _good_token().rpartition(".")[0]


def report(data: bytes) -> None:
    """What a gateway reports of its keys, as the operator reads it."""
    found = parse_member(data.decode("utf-8", "surrogateescape"))
    assert parse_member(member(found)) == found


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "head": head,
    "forwarded": forwarded,
    "public": public,
    "client-certificate": client_certificate,
    "document": document,
    "token": token,
    "report": report,
}


def seeds(target_: str) -> list[bytes]:
    """Good inputs of a target, to begin with."""
    match target_:
        case "head":
            return [
                b"/shop/orders?a=b\nhost:a\ncontent-length:15\ncontent-type:application/json",
                b"/shop/orders\nhost:a\ntransfer-encoding:chunked\nx-event:push",
                b"/\nhost:a\ncontent-encoding:identity\nx-event:a\nx-event:b",
            ]
        case "forwarded":
            return [b"10.0.0.1\n203.0.113.9, 10.0.0.2", b"2001:db8::1\n::ffff:10.0.0.3\n1.2.3.4"]
        case "public":
            shown = ("52.94.5.1", "10.0.0.1", "2600:1f18::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")
            return [ip_address(each).packed for each in shown]
        case "client-certificate":
            made = [each.certificate.public_bytes(Encoding.DER) for each in _senders()]
            return [BETWEEN.join((made[2], made[1])), made[2]]
        case "document":
            root = _senders()[0].pem.decode()
            wanted = {"sans": ["DNS:a.example"], "authorities": root}
            source = {"cidrs": ["192.0.2.0/24"], "clientCertificate": wanted}
            written = endpoint(target=target(8443), source=source)
            return [json.dumps(written).encode() + BETWEEN + SECRET.encode()]
        case "token":
            return [_good_token().encode()]
        case _:
            return [b'{"k1": "2027-01-15T08:00:00Z", "k2": "2027-01-15T08:11:40Z"}']
