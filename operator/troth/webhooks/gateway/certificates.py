"""The certificates of SNS, fetched from where AWS keeps them and from nowhere else.

A message says where its certificate lies, before anything of it is verified: whoever sends it has
the gateway ask somebody. So the URL must be one of SNS's own in every character
(`certificate_urls`), the host one whose addresses are all public, as they are when it is connected
to (a name that leads inside, or begins to, is refused), TLS is verified as ever, a redirect is not
followed, and an answer is short. Each is fetched once, however many ask, and kept; one that could
not be fetched is not asked for again for a while.
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
from troth.webhooks.schemes.certificate_urls import is_certificate_url

WITHIN = 5.0
"""Seconds for all of a fetch."""
LONGEST = 16 * 1024
"""Bytes of an answer; a certificate has some two thousand."""
KEPT_FOR = 24 * 3600.0
"""Seconds that a certificate is kept. Its own end the scheme looks at."""
FAILED_FOR = 10.0
"""Seconds that one is not asked for again. A sender tries again after more."""
MOST = 32
"""Certificates that are kept, and failures that are remembered; SNS has one in each region."""
MOST_AT_ONCE = 4
"""Fetches at once for one endpoint; an attacker names as many certificates as there are names, and
takes nothing from the other endpoints."""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out of IPv6. Elsewhere lie other NAT64s (RFC 8215), among others."""


class CertificateUnavailableError(Exception):
    """A certificate could not be fetched; the sentence quotes nothing of what was answered."""


def is_public(address: Address) -> bool:
    """Whether an address is of the public Internet: nothing within, of the link, of the host.

    An IPv4 address within one of IPv6 is judged as what it is.
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
    """None for one that could not be fetched."""
    until: float


class Certificates:
    """Fetches, and keeps. Belongs to the event loop that it is first used in."""

    def __init__(
        self,
        *,
        roots: ssl.SSLContext | None = None,
        resolver: Callable[[], AbstractResolver] = aiohttp.DefaultResolver,
        allowed: Callable[[Address], bool] = is_public,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`roots` are those that the system trusts, unless others are given."""
        self._roots = roots
        self._resolver = resolver
        self._allowed = allowed
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._flights: dict[str, asyncio.Task[bytes]] = {}
        self._under_way: Counter[str] = Counter()

    async def get(self, url: str, endpoint: str) -> bytes:
        """Return the certificate at a URL, in PEM, as it came, for who delivers to an endpoint.

        Raises `CertificateUnavailableError`.
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
        # One that no longer waits must not end what others wait for.
        return await asyncio.shield(flight)

    def _landed(self, url: str, endpoint: str, flight: asyncio.Task[bytes]) -> None:
        del self._flights[url]
        self._under_way -= Counter((endpoint,))  # and forgets whoever has none
        if not flight.cancelled():
            flight.exception()  # told to who waits, if anybody does still

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
        """Keep the number bounded; what could not be fetched goes before what could."""
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
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            raise CertificateUnavailableError(f"no answer ({type(error).__name__})") from None
        if len(body) > LONGEST:
            raise CertificateUnavailableError(f"the answer is longer than {LONGEST} bytes")
        return body


class _Checked(AbstractResolver):
    """Finds hosts all of whose addresses are allowed. What it returns is what is connected to: no
    name is looked up a second time, when it might lead elsewhere.
    """

    def __init__(self, resolver: AbstractResolver, allowed: Callable[[Address], bool]) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        # An interface's name (fe80::1%eth0) is no address of the Internet either.
        if not found or not all(self._allowed(ip_address(each["host"])) for each in found):
            raise OSError("the host's addresses are not all public")
        return found

    async def close(self) -> None:
        await self._resolver.close()
