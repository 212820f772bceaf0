"""Client certificates are accepted only by the endpoint with their root and name.

The gateway is served with TLS that believes the roots of all endpoints at once.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.edge.mounts import known
from tests.edge.serving import ROOTS
from tests.pki.builders import Made, by_hand, permitting
from tests.webhooks.gateway.attacks.scene import port_of, serving
from tests.webhooks.gateway.running import GATEWAY
from troth.documents.webhook_endpoint import ClientCertificate, EndpointError, Source
from troth.webhooks.gateway.connection.body import Receive, Scope, Send
from troth.webhooks.gateway.connection.source import Admission, Proxies
from troth.webhooks.gateway.serving import Senders

URI = "spiffe://provider.example/ns/hooks/sa/sender"
ROOT, OTHER_ROOT = by_hand("a sender's root"), by_hand("another root")


def leaf(
    root: Made = ROOT,
    names: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(URI),),
    **changed: Any,
) -> Made:
    purposes = changed.pop("purposes", [ExtendedKeyUsageOID.CLIENT_AUTH])
    return by_hand("sender", root, ca=False, names=list(names), purposes=purposes, **changed)


def admission(*sans: str, roots: Made = ROOT) -> Admission:
    wanted = ClientCertificate(sans=sans or (f"URI:{URI}",), authorities=roots.pem.decode())
    return Admission(Source(client_certificate=wanted))


def refusal(of: Admission, *chain: Made, now: float | None = None) -> str | None:
    shown = [each.pem.decode() for each in chain]
    scope = {"extensions": {"tls": {"client_cert_chain": shown}}}
    return of.refusal(Proxies(), scope, time.time() if now is None else now)


def test_client_certificate_is_accepted_by_root_and_name() -> None:
    assert refusal(admission(), leaf()) is None
    assert (
        refusal(admission("DNS:hooks.example"), leaf(names=(x509.DNSName("hooks.example"),)))
        is None
    )
    assert refusal(admission(), leaf(OTHER_ROOT)) == "certificate-unexpected"
    assert refusal(admission("URI:spiffe://other/x"), leaf()) == "certificate-unexpected"
    assert refusal(admission(f"DNS:{URI}"), leaf()) == "certificate-unexpected"
    assert refusal(admission()) == "certificate-missing"
    assert admission().refusal(Proxies(), {}, 0) == "certificate-missing"


def test_chain_is_verified_up_to_the_root() -> None:
    between = by_hand("between", ROOT)
    assert refusal(admission(), leaf(between), between) is None
    assert refusal(admission(), leaf(between)) == "certificate-unexpected"
    assert refusal(admission(), leaf(between), by_hand("between", OTHER_ROOT)) is not None


def test_server_certificate_is_rejected() -> None:
    server = leaf(purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert refusal(admission(), server) == "certificate-unexpected"


def test_expired_certificate_is_no_longer_accepted() -> None:
    of, short = admission(), leaf(lifetime=timedelta(hours=1))
    assert refusal(of, short) is None
    assert refusal(of, short) is None
    assert refusal(of, short, now=time.time() + 3700) == "certificate-unexpected"


def test_number_of_cached_chains_is_bounded() -> None:
    of = admission()
    for _ in range(70):
        assert refusal(of, leaf()) is None
    assert of._certificates is not None
    assert len(of._certificates._known) <= 64


def test_invalid_client_certificate_is_rejected() -> None:
    scope = {"extensions": {"tls": {"client_cert_chain": ["nonsense"]}}}
    assert admission().refusal(Proxies(), scope, 0) == "certificate-unexpected"


@pytest.mark.parametrize("san", ["URI:", "spiffe://a/b", "IP:1.2.3.4"])
def test_name_of_an_unknown_kind_is_rejected(san: str) -> None:
    with pytest.raises(EndpointError):
        admission(san)


CONSTRAINED = by_hand(
    "a constrained root", constraints=permitting(x509.UniformResourceIdentifier("provider.example"))
)


def test_uri_constraints_of_a_root_are_enforced() -> None:
    of = admission(f"URI:{URI}", "URI:spiffe://other.example/a", "DNS:a", roots=CONSTRAINED)
    others = (x509.UniformResourceIdentifier("spiffe://other.example/a"),)
    address = (x509.UniformResourceIdentifier(URI), x509.IPAddress(ip_address("10.0.0.1")))
    server = [ExtendedKeyUsageOID.SERVER_AUTH]
    between = by_hand("between", CONSTRAINED)
    assert refusal(of, leaf(CONSTRAINED)) is None
    assert refusal(of, leaf(CONSTRAINED), CONSTRAINED) is None
    assert refusal(of, leaf(between), between) is None
    assert refusal(of, leaf(between)) == "certificate-unexpected"
    assert refusal(of, leaf(CONSTRAINED, others)) == "certificate-unexpected"
    assert refusal(of, leaf(CONSTRAINED, address)) == "certificate-unexpected"
    assert refusal(of, leaf(CONSTRAINED, purposes=server)) == "certificate-unexpected"
    assert refusal(of, leaf()) == "certificate-unexpected"
    late = time.time() + 400 * 24 * 3600
    assert refusal(of, leaf(CONSTRAINED), now=late) == "certificate-unexpected"


def test_certificates_of_troth_are_accepted_by_their_root() -> None:
    shown = {"extensions": {"tls": {"client_cert_chain": known(GATEWAY).chain}}}
    wanted = ClientCertificate(sans=(f"URI:{GATEWAY}",), authorities=ROOTS.decode())
    assert (
        Admission(Source(client_certificate=wanted)).refusal(Proxies(), shown, time.time()) is None
    )
    another = ClientCertificate(sans=(f"URI:{URI}",), authorities=ROOTS.decode())
    why = Admission(Source(client_certificate=another)).refusal(Proxies(), shown, time.time())
    assert why == "certificate-unexpected"


def test_ipv4_mapped_address_equals_its_ipv4_address() -> None:
    scope = {"client": ("::ffff:203.0.113.9", 1), "headers": []}
    assert Proxies().sender(scope) == ip_address("203.0.113.9")
    assert Admission(Source(cidrs=("203.0.113.0/24",))).refusal(Proxies(), scope, 0) is None
    assert Admission(Source(cidrs=("2001:db8::/32",))).refusal(Proxies(), scope, 0) is not None


def test_connection_without_an_address_has_no_source() -> None:
    scope: dict[str, Any] = {"client": None, "headers": []}
    everywhere = Admission(Source(cidrs=("0.0.0.0/0",)))
    assert everywhere.refusal(Proxies(["127.0.0.0/8"]), scope, 0) == "address-unexpected"


def test_several_forwarded_headers_form_one_list() -> None:
    headers = [
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"x-forwarded-for", b"203.0.113.9, 10.0.0.2"),
    ]
    proxies = Proxies(["10.0.0.0/8"])
    assert proxies.sender({"client": ("10.0.0.1", 1), "headers": headers}) == ip_address(
        "203.0.113.9"
    )
    assert proxies.sender({"client": ("192.0.2.1", 1), "headers": headers}) == ip_address(
        "192.0.2.1"
    )


def test_senders_are_counted_by_public_address_or_ipv6_network() -> None:
    senders = Senders(Proxies(["198.51.101.0/24"]))
    assert senders.peer("8.8.8.8") == senders.peer("::ffff:8.8.8.8") is not None
    assert senders.peer("2a00:1450::1") == senders.peer("2a00:1450::ffff:2") is not None
    assert senders.peer("2a00:1450::1") != senders.peer("2a00:1450:0:1::1")


@pytest.mark.parametrize("shared", ["10.0.0.7", "fd00::7", "198.51.101.9", "127.0.0.1", "a path"])
def test_address_that_many_senders_may_share_is_not_counted(shared: str) -> None:
    """It is that of a node, of a load balancer or of a trusted proxy."""
    assert Senders(Proxies(["198.51.101.0/24"])).peer(shared) is None


# over a socket


@asynccontextmanager
async def refusal_over_tls(tmp: Path, of: Admission) -> AsyncIterator[Any]:
    """Yield what asks a server with TLS whether it would look at a request."""
    said: list[str | None] = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        said.append(of.refusal(Proxies(), scope, time.time()))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(*known(GATEWAY).write(tmp))
    context.load_verify_locations(cadata=(ROOT.pem + OTHER_ROOT.pem).decode())
    async with serving(app, tls=context) as server:

        async def ask(shown: Made | None) -> str | None:
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.load_verify_locations(cadata=ROOTS.decode())
            if shown is not None:
                (tmp / "shown.pem").write_bytes(shown.pem + shown.key_pem)
                client.load_cert_chain(tmp / "shown.pem")
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port_of(server), ssl=client, server_hostname="localhost"
            )
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b"204" in await reader.readline()
            writer.close()
            return said.pop()

        yield ask


async def test_endpoint_rejects_certificates_of_another_endpoints_root(tmp_path: Path) -> None:
    async with refusal_over_tls(tmp_path, admission()) as ask:
        assert await ask(leaf()) is None
        assert await ask(leaf(OTHER_ROOT)) == "certificate-unexpected"
        assert await ask(None) == "certificate-missing"
