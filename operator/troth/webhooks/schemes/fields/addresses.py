"""The URL that a sender signs: the configured URL of the endpoint, with the query of the request.

No header is used: the sender chooses `Host` and `X-Forwarded-Host`, so a URL with them proves
nothing.
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
    """Parts of a configured URL. `port` and `path` are empty if the URL has none."""

    scheme: str
    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Return a URL without query and fragment; raises `ValueError`."""
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError("the URL is not https://host/path without query and fragment")
        return cls(found[1], found[2], found[3] or "", found[4] or "")

    @property
    def authority(self) -> str:
        """Host in lower case, with the port unless it is the scheme's default (RFC 9110, 4.2.3)."""
        host = self.host.lower()
        return f"{host}:{self.port}" if self.port not in ("", _USUAL[self.scheme]) else host

    def with_port(self) -> str:
        """Return the URL with its port, or the scheme's default port."""
        return f"{self.scheme}://{self.host}:{self.port or _USUAL[self.scheme]}{self.path}"

    def without_port(self) -> str:
        """Return the URL without its port."""
        return f"{self.scheme}://{self.host}{self.path}"


def query_of(delivery: Delivery) -> str:
    """Return the query of a request unmodified, with the question mark; empty if there is none.

    Raises `RefusedError` for a request target that is not printable ASCII.
    """
    if _TARGET.fullmatch(delivery.target) is None or b"#" in delivery.target:
        raise RefusedError(Reason.SIGNATURE_MALFORMED, "the request target is not printable ASCII")
    _, mark, query = delivery.target.decode("ascii").partition("?")
    return mark + query
