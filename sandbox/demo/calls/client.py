"""A caller without a pod: it presents a certificate, verifies the callee, and reports the outcome.

The outcome is in the words of the sandbox's workload, which calls from pods.
"""

import json
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox.demo.calls.service import TIMEOUT, RejectedError, reason_of, spiffe_id
from sandbox.node.workload import Layer, Mode, Outcome

ALERTS = {
    "unknown ca": "unknown certificate authority",
    "certificate expired": "expired certificate",
    "certificate required": "certificate required",
    "protocol version": "protocol version not supported",
}
"""OpenSSL's names of TLS alerts, and the workload's."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to a port on loopback.

    `files` is the directory of the caller's certificate and `bundle` that of its ca.crt. `callee`
    is the SPIFFE ID that must answer; empty for a caller that verifies nothing.
    """

    port: int
    mode: Mode
    files: Path
    bundle: Path
    callee: str = ""
    scope: str = ""


def call(attempt: Attempt) -> Outcome:
    """Make one HTTP request, over TLS unless the attempt is a plain one."""
    try:
        with socket.create_connection(("127.0.0.1", attempt.port), timeout=TIMEOUT) as connection:
            if attempt.mode is Mode.PLAIN:
                return _exchange(connection, attempt)
            with client_context(attempt).wrap_socket(connection) as tls:
                return _exchange(tls, attempt, _verified(tls, attempt.callee))
    except RejectedError as rejection:
        return Outcome(Layer.HANDSHAKE, "client", "wrong identity", str(rejection))
    except ssl.SSLCertVerificationError as error:
        return Outcome(Layer.HANDSHAKE, "client", reason_of(error))
    except ssl.SSLError as error:
        said = reason_of(error)
        reason = next((words for alert, words in ALERTS.items() if alert in said), said)
        return Outcome(Layer.HANDSHAKE, "server", reason)
    except OSError as error:
        return Outcome(Layer.NETWORK, reason="error", detail=reason_of(error))


def client_context(attempt: Attempt) -> ssl.SSLContext:
    """Return the TLS context of an attempt. It checks the SPIFFE ID instead of the host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if attempt.mode is Mode.TLS12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if attempt.callee:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(attempt.bundle / "ca.crt")
    else:
        context.verify_mode = ssl.CERT_NONE
    if attempt.mode is not Mode.TLS:
        context.load_cert_chain(attempt.files / "tls.crt", attempt.files / "tls.key")
    return context


def _verified(tls: ssl.SSLSocket, callee: str) -> str:
    """Return the SPIFFE ID of the callee, if one is expected."""
    if not callee:
        return ""
    certificate = tls.getpeercert()
    assert certificate is not None
    found = spiffe_id(certificate)
    if found != callee:
        raise RejectedError(f"it is {found}, expected {callee}")
    return found


def _exchange(connection: socket.socket, attempt: Attempt, server: str = "") -> Outcome:
    request = f"GET /?scope={attempt.scope} HTTP/1.1\r\nHost: shop\r\n\r\n"
    connection.sendall(request.encode())
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise ConnectionError("hung up without an answer")
    status = int(head.split()[1])
    if status == HTTPStatus.BAD_REQUEST:
        return Outcome(Layer.HANDSHAKE, "server", "no TLS")
    return _told(json.loads(body), server)


def _told(body: dict[str, Any], server: str) -> Outcome:
    rejected, scopes = body.get("rejected", ""), tuple(body.get("scopes", ()))
    if not rejected:
        return Outcome(Layer.ANSWERED, server=server, scopes=scopes)
    if "scopes" in body:
        return Outcome(Layer.SCOPE, reason=rejected, server=server, scopes=scopes)
    return Outcome(Layer.HANDSHAKE, "server", "not accepted", rejected)
