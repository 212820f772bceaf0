"""Certificates of SNS are fetched only from AWS, over TLS, once."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from socket import AF_UNSPEC, AddressFamily

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from structlog.testing import capture_logs

from tests.edge.loopback import ReceivedRequest, Reply, Server, serving
from tests.pki.builders import Made, by_hand
from tests.webhooks.gateway.running import compiled, endpoint, running_gateway, target
from tests.webhooks.gateway.test_app import last_log_line
from troth.pki.keys.private import generate_key
from troth.resources.algorithms import KeyAlgorithm
from troth.webhooks.gateway import certificates
from troth.webhooks.gateway.certificates import (
    FAILED_FOR,
    KEPT_FOR,
    MOST,
    Certificates,
    CertificateUnavailableError,
    is_public,
)
from troth.webhooks.gateway.connection.source import Address
from troth.webhooks.gateway.routes import served
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.scheme import Stamp

HOST = "sns.eu-west-1.amazonaws.com"
URL = f"https://{HOST}/SimpleNotificationService-0.pem"
ENDPOINT = "shop/stripe"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
ROOT = by_hand("a public root")
RSA = generate_key(KeyAlgorithm.RSA_2048)
SIGNING = by_hand(HOST, ROOT, ca=False, own_key=RSA)


def is_loopback(address: Address) -> bool:
    return address.is_loopback


@dataclass
class Resolver(AbstractResolver):
    """Leads wherever a test wants."""

    addresses: list[str]
    port: int
    asked: list[str] = field(default_factory=list)

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - its own
        family: AddressFamily = AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=self.port,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for each in self.addresses
        ]

    async def close(self) -> None:
        pass


def trusting(root: Made = ROOT) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root.pem.decode())
    return context


@contextmanager
def amazon(
    tmp: Path, respond: Callable[[ReceivedRequest], Reply] | None = None, name: str = HOST
) -> Iterator[Server]:
    """A server with a certificate for SNS's host."""
    made = by_hand("server", ROOT, ca=False, names=[x509.DNSName(name)])
    (tmp / "amazon.pem").write_bytes(made.pem + made.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp / "amazon.pem")
    with serving(respond or (lambda _: Reply(200, (), SIGNING.pem)), context) as server:
        yield server


def fetching(server: Server, *addresses: str, root: Made = ROOT) -> Certificates:
    resolver = Resolver(list(addresses or ("127.0.0.1",)), server.port)
    return Certificates(roots=trusting(root), resolver=lambda: resolver, allowed=is_loopback)


async def unavailable(of: Certificates, url: str = URL) -> str:
    with pytest.raises(CertificateUnavailableError) as caught:
        await of.get(url, ENDPOINT)
    return str(caught.value)


async def test_certificate_is_fetched_once_for_all_requests(tmp_path: Path) -> None:
    with amazon(tmp_path) as server:
        of = fetching(server)
        found = await asyncio.gather(*(of.get(URL, ENDPOINT) for _ in range(50)))
        assert set(found) == {SIGNING.pem}
        assert await of.get(URL, ENDPOINT) == SIGNING.pem
        (seen,) = server.seen
        assert (seen.method, seen.path, seen.headers["Host"]) == (
            "GET",
            "/SimpleNotificationService-0.pem",
            HOST,
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com/../a.pem",
        "https://127.0.0.1/a.pem",
    ],
)
async def test_other_hosts_are_not_even_resolved(tmp_path: Path, url: str) -> None:
    resolver = Resolver(["127.0.0.1"], 1)
    of = Certificates(roots=trusting(), resolver=lambda: resolver, allowed=is_loopback)
    assert "not an SNS certificate URL" in await unavailable(of, url)
    assert resolver.asked == []


INSIDE = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "::10.0.0.1",
    "fec0::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "0.0.0.0",
    "224.0.0.1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("addresses", [*([each] for each in INSIDE), ["52.94.5.1", "127.0.0.1"]])
async def test_host_with_a_private_address_is_rejected(
    tmp_path: Path, addresses: list[str]
) -> None:
    with amazon(tmp_path) as server:
        resolver = Resolver(addresses, server.port)
        of = Certificates(roots=trusting(), resolver=lambda: resolver)
        await unavailable(of)
        assert server.connections == 0
        assert server.handshakes == 0
    assert resolver.asked == [HOST]


def test_internet_addresses_are_public() -> None:
    for each in ("52.94.5.1", "2600:1f18::1", "64:ff9b::345e:501", "::ffff:52.94.5.1"):
        assert is_public(ip_address(each))


async def test_redirect_is_not_followed(tmp_path: Path) -> None:
    def respond(seen: ReceivedRequest) -> Reply:
        if seen.path.endswith("-0.pem"):
            return Reply(302, (("Location", f"https://{HOST}/other.pem"),), b"")
        return Reply(200, (), SIGNING.pem)

    with amazon(tmp_path, respond) as server:
        assert "302" in await unavailable(fetching(server))
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(404, (), SIGNING.pem), Reply(200, (), b"x" * 20_000), Reply(200, (), b"x" * 10**6)],
)
async def test_invalid_answer_is_rejected(tmp_path: Path, reply: Reply) -> None:
    with amazon(tmp_path, lambda _: reply) as server:
        await unavailable(fetching(server))


async def test_tls_is_verified(tmp_path: Path) -> None:
    with amazon(tmp_path) as server:
        await unavailable(fetching(server, root=by_hand("another root")))
        assert server.seen == []
    with amazon(tmp_path, name="evil.example") as server:
        await unavailable(fetching(server))
        assert server.seen == []


async def test_unresponsive_server_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        resolver = Resolver(["127.0.0.1"], silent.getsockname()[1])
        of = Certificates(roots=trusting(), resolver=lambda: resolver, allowed=is_loopback)
        await unavailable(of)


async def test_failed_fetch_is_not_retried_at_once(tmp_path: Path) -> None:
    replies = [Reply(500, (), b"")]
    now = 1000.0
    with amazon(
        tmp_path, lambda _: replies.pop() if replies else Reply(200, (), SIGNING.pem)
    ) as server:
        of = fetching(server)
        of._clock = lambda: now
        await unavailable(of)
        assert "a recent attempt" in await unavailable(of)
        assert len(server.seen) == 1
        now += FAILED_FOR
        assert await of.get(URL, ENDPOINT) == SIGNING.pem
        now += KEPT_FOR
        assert await of.get(URL, ENDPOINT) == SIGNING.pem
        assert len(server.seen) == 3


async def test_invented_names_do_not_evict_certificates(tmp_path: Path) -> None:
    def respond(seen: ReceivedRequest) -> Reply:
        good = seen.path == "/SimpleNotificationService-0.pem"
        return Reply(200, (), SIGNING.pem) if good else Reply(404, (), b"")

    with amazon(tmp_path, respond) as server:
        of = fetching(server)
        await of.get(URL, ENDPOINT)
        for number in range(MOST + 10):
            await unavailable(of, URL.replace("-0.", f"-made-up-{number}."))
        assert len(of._kept) == MOST
        before = len(server.seen)
        assert await of.get(URL, ENDPOINT) == SIGNING.pem
        assert len(server.seen) == before


async def test_number_of_concurrent_fetches_is_bounded(tmp_path: Path) -> None:
    with amazon(tmp_path) as server:
        of = fetching(server)
        urls = [URL.replace("-0.", f"-{number}.") for number in range(1, 10)]
        asked = [of.get(each, ENDPOINT) for each in urls]
        found = await asyncio.gather(*asked, of.get(URL, "shop/other"), return_exceptions=True)
        assert sum(isinstance(each, bytes) for each in found[:-1]) == certificates.MOST_AT_ONCE
        assert found[-1] == SIGNING.pem
        assert not of._under_way


# with the gateway


def message(port: int, key: Made = SIGNING) -> tuple[dict[str, object], Delivery]:
    document = endpoint(
        target=target(port),
        signing={"name": "SNS", "url": "https://hooks.example/shop/stripe", "topics": [TOPIC]},
    )
    scheme = served(compiled(document)).scheme
    bare = Delivery("POST", b"/shop/stripe", ((b"content-type", b"text/plain"),), b"an order")
    signer = scheme.key("k", key.key_pem)
    return document, scheme.sign(bare, signer, Stamp(int(time.time()), "m-1"))


async def test_sns_message_is_verified_with_the_certificate_that_it_names(tmp_path: Path) -> None:
    with amazon(tmp_path) as server:
        async with running_gateway(tmp_path, certificates=fetching(server)) as at:
            document, delivery = message(at.ledger.server.port)
            at.put(document)
            with capture_logs() as logs:
                assert (await at.sender.send(delivery)).status == 200
            assert last_log_line(logs)["key_id"] == "SimpleNotificationService-0.pem"
            assert at.ledger.token().delivery.delivery_id == "m-1"
            assert (await at.sender.send(delivery)).status == 200
            assert len(at.ledger.seen) == 1


async def test_sns_message_signed_with_another_key_is_rejected(tmp_path: Path) -> None:
    forger = by_hand("forger", own_key=generate_key(KeyAlgorithm.RSA_2048))
    with amazon(tmp_path) as server:
        async with running_gateway(tmp_path, certificates=fetching(server)) as at:
            document, delivery = message(at.ledger.server.port, forger)
            at.put(document)
            with capture_logs() as logs:
                assert (await at.sender.send(delivery)).status == 401
            assert last_log_line(logs)["reason"] == "signature-wrong"
            assert at.ledger.seen == []


async def test_sns_message_without_its_certificate_is_asked_to_retry(tmp_path: Path) -> None:
    with amazon(tmp_path, lambda _: Reply(503, (), b"")) as server:
        async with running_gateway(tmp_path, certificates=fetching(server)) as at:
            document, delivery = message(at.ledger.server.port)
            at.put(document)
            heard = await at.sender.send(delivery)
            assert (heard.status, heard.headers["Retry-After"]) == (503, "10")
    with amazon(tmp_path, lambda _: Reply(200, (), b"nonsense")) as server:
        async with running_gateway(tmp_path, certificates=fetching(server)) as at:
            document, delivery = message(at.ledger.server.port)
            at.put(document)
            assert (await at.sender.send(delivery)).status == 401
            assert at.ledger.seen == []
