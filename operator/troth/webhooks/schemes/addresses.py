"""The URL that a sender signs: as the endpoint is configured, with the query of the request.

Never of a header: `Host` and `X-Forwarded-Host` say whatever a sender likes, and a URL made of them
proves only that the sender agrees with itself.
"""

import re
from dataclasses import dataclass

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

_URL = re.compile(
    r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[!-\"$->@-~]*)?"
)
_TARGET = re.compile(rb"[!-~]*")
_USUAL = {"https": "443", "http": "80"}


@dataclass(frozen=True, slots=True)
class Address:
    """A configured URL, taken apart. `port` is empty where the URL has none; a path begins with /,
    or is empty.
    """

    scheme: str
    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Return a URL without a query and a fragment; raises `ValueError`."""
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError("the URL is not https://host/path without query and fragment")
        return cls(found[1], found[2], found[3] or "", found[4] or "")

    @property
    def authority(self) -> str:
        """The host in small letters, with a port that is not the usual one (RFC 9110 4.2.3)."""
        host = self.host.lower()
        return f"{host}:{self.port}" if self.port not in ("", _USUAL[self.scheme]) else host

    def with_port(self) -> str:
        """Return the URL with its port, the usual one where it has none."""
        return f"{self.scheme}://{self.host}:{self.port or _USUAL[self.scheme]}{self.path}"

    def without_port(self) -> str:
        """Return the URL without its port."""
        return f"{self.scheme}://{self.host}{self.path}"


def query_of(delivery: Delivery) -> str:
    """Return the query of a request as it came, with the question mark; empty where it has none.

    Raises `RefusedError` for a request target that is not printable ASCII.
    """
    if _TARGET.fullmatch(delivery.target) is None or b"#" in delivery.target:
        raise RefusedError(Reason.SIGNATURE_MALFORMED, "the request target is not printable ASCII")
    _, mark, query = delivery.target.decode("ascii").partition("?")
    return mark + query
