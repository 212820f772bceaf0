"""A caller as a pod would be one: it shows its certificate, and looks whom it has reached."""

import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.demo.service import TIMEOUT, Refused, reason_of, spiffe_id


@dataclass(frozen=True, slots=True)
class Attempt:
    """How somebody calls.

    `files` is the directory of the caller's Secret, `None` for one who has none. `callee` is the
    SPIFFE ID that must answer; an intruder leaves it out and verifies nobody. `certificate`, if
    given, is shown instead of the one in `files`.
    """

    port: int
    files: Path | None = None
    callee: str | None = None
    certificate: Path | None = None
    anonymous: bool = False
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller saw: an answer and its body, or why there was none.

    `caller` is the caller's own port, by which the callee's journal knows the connection; `tls` is
    the version spoken, `None` without TLS; `refused_by_caller` is why it went no further itself.
    """

    caller: int
    status: int | None = None
    body: dict[str, Any] = field(default_factory=dict)
    tls: str | None = None
    failure: str = ""
    refused_by_caller: str = ""


def client_context(attempt: Attempt) -> ssl.SSLContext:
    """Return TLS as the attempt has it. Names are not checked: the SPIFFE ID is, and says more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = attempt.newest
    if attempt.files is None or attempt.callee is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(attempt.files / "ca.crt")
    if not attempt.anonymous:
        shown = attempt.certificate or attempt.files
        assert shown is not None
        context.load_cert_chain(shown / "tls.crt", shown / "tls.key")
    return context


def call(attempt: Attempt) -> Outcome:
    """Make one HTTP request over TLS."""
    with socket.create_connection(("127.0.0.1", attempt.port), timeout=TIMEOUT) as connection:
        caller = int(connection.getsockname()[1])
        try:
            with client_context(attempt).wrap_socket(connection) as tls:
                if attempt.callee is not None:
                    _check(tls, attempt.callee)
                version = tls.version()  # known no longer once the callee has hung up
                status, body = _exchange(tls, attempt.headers)
                return Outcome(caller, status, body, tls=version)
        except Refused as refusal:
            return Outcome(caller, refused_by_caller=str(refusal))
        except ssl.SSLCertVerificationError as error:
            return Outcome(caller, refused_by_caller=reason_of(error))
        except OSError as error:
            return Outcome(caller, failure=reason_of(error))


def call_plainly(port: int) -> Outcome:
    """Make one HTTP request without TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        caller = int(connection.getsockname()[1])
        try:
            status, body = _exchange(connection, {})
        except OSError as error:
            return Outcome(caller, failure=reason_of(error))
        return Outcome(caller, status, body)


def _check(tls: ssl.SSLSocket, callee: str) -> None:
    certificate = tls.getpeercert()
    assert certificate is not None
    found = spiffe_id(certificate)
    if found != callee:
        raise Refused(f"{found} answered instead of {callee}")


def _exchange(connection: socket.socket, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    lines = ["GET / HTTP/1.1", "Host: shop", *(f"{key}: {text}" for key, text in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise ConnectionError("hung up without an answer")
    return int(head.split()[1]), json.loads(body)
