"""Whom a client's connection must reach: TLS that goes by the server's SPIFFE ID.

The name in the URL is checked too, but any identity may ask for DNS names; whose certificate it is,
its SPIFFE ID says. It is checked within the handshake, so that not a byte of a request, and no
token, is sent to anybody else, whichever library carries the request.
"""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ISSUER_ACCOUNT = "troth-issuer"


class WrongServerError(ssl.SSLCertVerificationError):
    """The server's certificate is good, and another's than that of whom the request is for.

    The libraries wrap it as they wrap every failed handshake.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(1, f"the server is {found}, not {expected}")
        self.verify_message = f"the server is {found}, not {expected}"


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose certificate a server must show."""

    name: str
    pattern: str
    """A regular expression for all of the SPIFFE ID."""

    @classmethod
    def exactly(cls, spiffe_id: str) -> "Expected":
        """One workload."""
        return cls(spiffe_id, re.escape(spiffe_id))

    @classmethod
    def issuer(cls, url: str, trust_domain: str) -> "Expected":
        """A trust domain's issuer, where nothing says its SPIFFE ID.

        It runs as ServiceAccount `troth-issuer`; in which namespace, the host of its URL says where
        it is that of a Service, `<name>.<namespace>.svc`.
        """
        labels = (urlsplit(url).hostname or "").split(".")
        namespace = labels[1] if labels[2:3] == ["svc"] else None
        before, after = f"spiffe://{trust_domain}/ns/", f"/sa/{_ISSUER_ACCOUNT}"
        between = re.escape(namespace) if namespace else "[^/]+"
        return cls(
            f"{before}{namespace or '*'}{after}", f"{re.escape(before)}{between}{re.escape(after)}"
        )

    def check(self, certificate: dict[str, Any] | None) -> None:
        """Raise `WrongServerError` unless a peer's certificate, as `getpeercert()` has it, has one
        URI name and that is the SPIFFE ID expected.
        """
        names = (certificate or {}).get("subjectAltName", ())
        found = [value for kind, value in names if kind == "URI"]
        if len(found) != 1 or not re.fullmatch(self.pattern, found[0]):
            raise WrongServerError(self.name, ", ".join(found) or "a server without a SPIFFE ID")


class _Context(ssl.SSLContext):
    """A context whose sockets know whom they are to reach."""

    expected: Expected


def _check(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    assert isinstance(connection.context, _Context)
    connection.context.expected.check(connection.getpeercert())


class _Socket(ssl.SSLSocket):
    """What blocking libraries get (urllib3, httpcore)."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is
        super().do_handshake(block)
        _check(self)


class _Object(ssl.SSLObject):
    """What asyncio gets."""

    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self)


def client_context(
    roots: bytes, expected: Expected, pair: tuple[Path, Path] | None
) -> ssl.SSLContext:
    """TLS for a client that believes these roots (PEM) and no others, and reaches whom it must.

    `pair` is the certificate (with its chain) and the key to show, None to show none. TLS 1.3, in
    which nobody on the way sees the client's name. Raises `OSError`, of which `ssl.SSLError` is
    one, for files that cannot be read or do not fit each other, and `ValueError` for the roots.
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
