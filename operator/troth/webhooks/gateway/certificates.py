"""Certificates of SNS, fetched only from the hosts at which AWS publishes them.

A message names the URL of its certificate before it is verified, so a sender can make the gateway
send a request. Therefore the URL must match AWS's form exactly (`certificate_urls`), and all
addresses of the host must be public. The gateway connects to the addresses that it checked, which
prevents DNS rebinding. It verifies TLS, follows no redirects, and limits the size of the answer.

Each certificate is fetched once, for all requests that need it, and cached. After a failed fetch,
the gateway waits before it fetches that certificate again.
"""

import asyncio
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AF_UNSPEC, AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from troth.webhooks.gateway.connection.source import Address
from troth.webhooks.schemes.providers.sns.certificate_urls import is_certificate_url

WITHIN = 5.0
"""Maximum time for a fetch, in seconds."""
LONGEST = 16 * 1024
"""Maximum size of an answer in bytes; a certificate has about 2,000."""
KEPT_FOR = 24 * 3600.0
"""Time in seconds for which a certificate is cached. The scheme checks its validity."""
FAILED_FOR = 10.0
"""Time in seconds until a failed fetch is retried. Senders retry later than that."""
MOST = 32
"""Maximum number of cached certificates and failures; SNS has one certificate in each region."""
MOST_AT_ONCE = 4
"""Maximum number of simultaneous fetches for one endpoint. An attacker can name any number of
certificates, and must not affect other endpoints.
"""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_UNICAST = IPv6Network("2000::/3")
"""All unicast addresses that IANA has allocated. Other NAT64 prefixes are outside (RFC 8215)."""


class CertificateUnavailableError(Exception):
    """The certificate could not be fetched. The message quotes nothing of the answer."""


def is_public(address: Address) -> bool:
    """Return whether an address is globally reachable: not private, loopback or multicast.

    An IPv4 address embedded in an IPv6 address is checked as IPv4.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        tunnelled = address.sixtofour is not None or address.teredo is not None
        if tunnelled or address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


@dataclass(frozen=True, slots=True)
class _Kept:
    pem: bytes | None
    """None after a failed fetch."""
    until: float


class Certificates:
    """Fetches and caches certificates. Use it in one event loop only."""

    def __init__(
        self,
        *,
        roots: ssl.SSLContext | None = None,
        resolver: Callable[[], AbstractResolver] = aiohttp.DefaultResolver,
        allowed: Callable[[Address], bool] = is_public,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up an empty cache. `roots` default to the system's."""
        self._roots = roots
        self._resolver = resolver
        self._allowed = allowed
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._flights: dict[str, asyncio.Task[bytes]] = {}
        self._under_way: Counter[str] = Counter()

    async def get(self, url: str, endpoint: str) -> bytes:
        """Return the certificate at a URL, in PEM; raises `CertificateUnavailableError`.

        `endpoint` (`<namespace>/<name>`) is the endpoint that got the delivery.
        """
        if not is_certificate_url(url):
            raise CertificateUnavailableError("the URL is not an SNS certificate URL")
        kept = self._kept.get(url)
        if kept is not None and self._clock() < kept.until:
            if kept.pem is None:
                raise CertificateUnavailableError("a recent attempt to fetch it failed")
            return kept.pem
        flight = self._flights.get(url)
        if flight is None:
            if self._under_way[endpoint] >= MOST_AT_ONCE:
                raise CertificateUnavailableError("too many certificates are being fetched")
            self._under_way[endpoint] += 1
            flight = self._flights[url] = asyncio.create_task(self._fetch_and_keep(url))
            flight.add_done_callback(lambda done: self._landed(url, endpoint, done))
        # A cancelled request must not cancel a fetch that others wait for.
        return await asyncio.shield(flight)

    def _landed(self, url: str, endpoint: str, flight: asyncio.Task[bytes]) -> None:
        del self._flights[url]
        self._under_way -= Counter((endpoint,))  # this also removes zero entries
        if not flight.cancelled():
            flight.exception()  # marks the error as retrieved, if no request waits

    async def _fetch_and_keep(self, url: str) -> bytes:
        pem: bytes | None = None
        try:
            pem = await self._fetch(url)
        finally:
            lasts = FAILED_FOR if pem is None else KEPT_FOR
            self._kept[url] = _Kept(pem, self._clock() + lasts)
            self._kept.move_to_end(url)
            self._make_room()
        return pem

    def _make_room(self) -> None:
        """Keep the number of entries bounded; failures are dropped before certificates."""
        while len(self._kept) > MOST:
            failed = (url for url, kept in self._kept.items() if kept.pem is None)
            del self._kept[next(failed, next(iter(self._kept)))]

    async def _fetch(self, url: str) -> bytes:
        connector = aiohttp.TCPConnector(
            resolver=_Checked(self._resolver(), self._allowed),
            use_dns_cache=False,
            ssl=self._roots or ssl.create_default_context(),
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=WITHIN),
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.get(URL(url, encoded=True), allow_redirects=False) as response,
            ):
                if response.status != HTTPStatus.OK:
                    raise CertificateUnavailableError(
                        f"the server answered with status {response.status}"
                    )
                body = b""
                while len(body) <= LONGEST and (part := await response.content.readany()):
                    body += part
        except (aiohttp.ClientError, OSError) as error:  # includes TimeoutError
            raise CertificateUnavailableError(f"no answer ({type(error).__name__})") from None
        if len(body) > LONGEST:
            raise CertificateUnavailableError(f"the answer is longer than {LONGEST} bytes")
        return body


class _Checked(AbstractResolver):
    """Resolver that returns only hosts whose addresses are all allowed.

    The connection uses the returned addresses, so the name is not resolved a second time, with a
    possibly different result.
    """

    def __init__(self, resolver: AbstractResolver, allowed: Callable[[Address], bool]) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        # An address with a zone (fe80::1%eth0) is not public either.
        if not found or not all(self._allowed(ip_address(each["host"])) for each in found):
            raise OSError("the host's addresses are not all public")
        return found

    async def close(self) -> None:
        await self._resolver.close()
