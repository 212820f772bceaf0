"""One probe: it connects, and sends a GET request with the credentials of its instruction."""

import contextlib
import io
import socket
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import TYPE_CHECKING

from troth.audit.proving.forged import forged_headers
from troth.cli.probe.connection import connect
from troth.cli.probe.token import NoTokenError, token_of
from troth.documents.probes import STATUSES, Instruction, Outcome, Seen, is_code
from troth.edge.outbound.servers import Expected, WrongServerError, client_context
from troth.pki.encodings import strict_json
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.errors import PKIError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PROBLEM = "application/problem+json"
_LONGEST_PROBLEM = 16 * 1024


def attempt(ask: Instruction, identities: Path, bundle: Path, timeout: float) -> Seen:
    """Make a probe once.

    `identities` has a folder with the files of each identity, and `bundle` the trust bundle.
    """
    try:
        context = _context(ask, identities) if ask.server else None
        headers = _headers(ask, identities, bundle, timeout)
    except NoTokenError as error:
        outcome = Outcome.TOKEN_REFUSED if error.final else Outcome.NO_TOKEN
        return Seen(outcome, code=error.code if is_code(error.code) else "")
    except (OSError, ValueError, PKIError):
        return Seen(Outcome.FAILED)
    opened = connect(ask.address, ask.port, timeout)
    if isinstance(opened, Outcome):
        return Seen(opened)
    with opened:
        if not ask.request:
            return Seen(Outcome.CONNECTED)
        if context is None:
            return _exchange(opened, ask, headers, timeout)
        return _through_tls(opened, context, ask, headers, timeout)


def _context(ask: Instruction, identities: Path) -> ssl.SSLContext:
    roots = read_certificates((identities / ask.roots / "ca.crt").read_bytes(), "ca.crt")
    folder = identities / ask.certificate
    pair = (folder / "tls.crt", folder / "tls.key") if ask.certificate else None
    context = client_context(write_certificates(roots), Expected.exactly(ask.server), pair)
    # The address of a pod is in no certificate. The SPIFFE ID identifies the server.
    context.check_hostname = False
    return context


def _headers(ask: Instruction, identities: Path, bundle: Path, timeout: float) -> dict[str, str]:
    headers = forged_headers(ask.claimed) if ask.claimed else {}
    if ask.audience:
        token = token_of(identities / ask.holder, bundle, ask.audience, timeout)
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _through_tls(
    opened: socket.socket,
    context: ssl.SSLContext,
    ask: Instruction,
    headers: Mapping[str, str],
    timeout: float,
) -> Seen:
    try:
        wrapped = context.wrap_socket(opened)
    except OSError as error:
        return Seen(_of_tls(error))
    with wrapped:
        return _exchange(wrapped, ask, headers, timeout)


class _Answer(io.RawIOBase):
    """What a server sends until a deadline. The timeout of a socket is for each read alone."""

    def __init__(self, opened: socket.socket, timeout: float) -> None:
        self._opened = opened
        self._until = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._opened.settimeout(left)
        return self._opened.recv_into(buffer)

    def makefile(self, _: str) -> io.BufferedReader:
        """Return a reader, as `HTTPResponse` asks a socket for it."""
        return io.BufferedReader(self)


def _exchange(
    opened: socket.socket, ask: Instruction, headers: Mapping[str, str], timeout: float
) -> Seen:
    read = _Answer(opened, timeout)
    # A server may end the connection before it reads. Its alert can still be read then.
    with contextlib.suppress(OSError):
        opened.sendall(_request(ask, headers))
    try:
        # It only calls makefile.
        answer = HTTPResponse(read, method="GET")  # type: ignore[arg-type]
        answer.begin()
    except RemoteDisconnected:
        return Seen(Outcome.CLOSED)
    except (HTTPException, ValueError):
        return Seen(Outcome.GARBLED)
    except OSError as error:
        return Seen(_of_tls(error))
    with answer:
        if answer.status not in STATUSES:
            return Seen(Outcome.GARBLED)
        return Seen(Outcome.ANSWERED, answer.status, _code(answer))


def _request(ask: Instruction, headers: Mapping[str, str]) -> bytes:
    host = f"[{ask.address}]" if ":" in ask.address else ask.address
    lines = [
        f"GET {ask.path} HTTP/1.1",
        f"Host: {host}:{ask.port}",
        "Connection: close",
        "User-Agent: troth-probe",
        "Accept: */*",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _of_tls(error: OSError) -> Outcome:
    match error:
        case WrongServerError():
            return Outcome.WRONG_SERVER
        case ssl.SSLCertVerificationError():
            return Outcome.UNTRUSTED
        case TimeoutError():
            return Outcome.SILENT
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Outcome.CLOSED
        case ssl.SSLError():
            return Outcome.ALERT if "ALERT" in (error.reason or "") else Outcome.NOT_TLS
    return Outcome.CLOSED


def _code(answer: HTTPResponse) -> str:
    """Return the code of a problem document that rejects a request, empty if there is none."""
    kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != PROBLEM:
        return ""
    try:
        document = strict_json.parse(answer.read(_LONGEST_PROBLEM))
    except (OSError, ValueError, HTTPException):
        return ""
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) and is_code(code) else ""
