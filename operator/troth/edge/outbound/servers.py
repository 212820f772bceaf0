"""TLS for clients that verifies the server's SPIFFE ID.

The name in the URL is verified too, but any identity may request DNS names; the SPIFFE ID
identifies the server. It is verified within the handshake, so no byte of a request and no token
reaches another server, whichever library sends the request.
"""

import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ISSUER_ACCOUNT = "troth-issuer"


class WrongServerError(ssl.SSLCertVerificationError):
    """The server's certificate is valid, but its identity is not the expected one.

    The libraries wrap this error like every failed handshake.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(1, f"the server is {found}, not {expected}")
        self.verify_message = f"the server is {found}, not {expected}"


@dataclass(frozen=True, slots=True)
class Expected:
    """The server identity to expect."""

    name: str
    pattern: str
    """Regular expression that matches the whole SPIFFE ID."""

    @staticmethod
    @lru_cache(maxsize=4096)  # each call needs that of its callee
    def exactly(spiffe_id: str) -> "Expected":
        """Expect one workload."""
        return Expected(spiffe_id, re.escape(spiffe_id))

    @classmethod
    def issuer(cls, url: str, trust_domain: str) -> "Expected":
        """Expect a trust domain's issuer whose SPIFFE ID is not known.

        It runs as ServiceAccount `troth-issuer`. The host of its URL names the namespace if it is
        that of a Service, `<name>.<namespace>.svc`.
        """
        labels = (urlsplit(url).hostname or "").split(".")
        namespace = labels[1] if labels[2:3] == ["svc"] else None
        before, after = f"spiffe://{trust_domain}/ns/", f"/sa/{_ISSUER_ACCOUNT}"
        between = re.escape(namespace) if namespace else "[^/]+"
        return cls(
            f"{before}{namespace or '*'}{after}", f"{re.escape(before)}{between}{re.escape(after)}"
        )

    def check(self, certificate: dict[str, Any] | None) -> None:
        """Raise `WrongServerError` unless a peer's certificate has the expected SPIFFE ID.

        `certificate` is as `getpeercert()` returns it. It must have exactly one URI name.
        """
        names = (certificate or {}).get("subjectAltName", ())
        found = [value for kind, value in names if kind == "URI"]
        if len(found) != 1 or not re.fullmatch(self.pattern, found[0]):
            raise WrongServerError(self.name, ", ".join(found) or "a server without a SPIFFE ID")


class _Context(ssl.SSLContext):
    """A context whose sockets verify the server identity."""

    expected: Expected


def _check(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    assert isinstance(connection.context, _Context)
    connection.context.expected.check(connection.getpeercert())


class _Socket(ssl.SSLSocket):
    """The socket of blocking libraries (urllib3, httpcore)."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's signature
        super().do_handshake(block)
        _check(self)


class _Object(ssl.SSLObject):
    """The TLS object of asyncio."""

    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self)


def client_context(
    roots: bytes, expected: Expected, pair: tuple[Path, Path] | None
) -> ssl.SSLContext:
    """Return TLS for a client that trusts only these roots (PEM) and verifies the server identity.

    `pair` is the certificate (with its chain) and the key to present, None to present none. TLS 1.3
    only, which hides the client's certificate from the network. Raises `OSError` (including
    `ssl.SSLError`) for files that are unreadable or do not match, and `ValueError` for the roots.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.expected = expected
    context.sslsocket_class = _Socket
    context.sslobject_class = _Object
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=roots.decode("ascii"))
    if pair is not None:
        context.load_cert_chain(*pair)
    return context
