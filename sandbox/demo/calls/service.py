"""A service as a pod would run it: it reads the files of its Secret and knows nothing of Troth.

    service.py DIRECTORY PORTS

Run as a script with the standard library alone. `DIRECTORY` holds the Secret's files; `PORTS` is
JSON: the name of each port, and whether it is `mtls` or `plain`. Each gets a free port on
loopback, written to `DIRECTORY/addresses.json`. A request may ask for a scope: `GET /?scope=NAME`.

It reads the files again for each connection, so a renewed certificate or a changed list of peers
takes effect at once, without a restart.
"""

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIMEOUT = 5.0
REQUEST_LIMIT = 16 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class RejectedError(Exception):
    """The service rejects the connection; the message says why."""


def server_context(directory: Path) -> ssl.SSLContext:
    """Return TLS that presents this workload's certificate and requires one that `ca.crt` verifies.

    `accepted` decides about the SPIFFE ID in the peer's certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(directory / "ca.crt")
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return context


def spiffe_id(certificate: Any) -> str:  # noqa: ANN401 - the shape is the standard library's
    """Return the SPIFFE ID of a verified peer's certificate, as `getpeercert()` has it."""
    names = [value for kind, value in certificate["subjectAltName"] if kind == "URI"]
    if len(names) != 1:
        raise RejectedError(f"the certificate has {len(names)} URI names instead of one SPIFFE ID")
    return str(names[0])


def accepted(directory: Path, peer: str, port: str) -> list[str]:
    """Return the scopes that `identity.json` grants a peer on a port; raises `RejectedError`."""
    identity = json.loads((directory / "identity.json").read_text())
    for entry in identity["accepts"]:
        for allowed in entry["ports"]:
            if (entry["spiffeID"], allowed["name"]) == (peer, port):
                return list(allowed["scopes"])
    raise RejectedError(f"{peer} is not accepted on {port}")


def reason_of(error: OSError) -> str:
    """Return why a handshake failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error)


class Service:
    """One workload's listeners."""

    def __init__(self, directory: Path, ports: dict[str, str]) -> None:
        self._directory = directory
        self._ports = ports

    def run(self) -> None:
        """Listen, write the addresses, and serve until killed."""
        listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in self._ports}
        draft = self._directory / ".addresses"
        draft.write_text(
            json.dumps({name: each.getsockname()[1] for name, each in listeners.items()})
        )
        draft.rename(self._directory / "addresses.json")
        threads = [
            threading.Thread(target=self._listen, args=(listener, name))
            for name, listener in listeners.items()
        ]
        for thread in threads:
            thread.start()

    def _listen(self, listener: socket.socket, port: str) -> None:
        while True:
            connection, _ = listener.accept()
            connection.settimeout(TIMEOUT)
            threading.Thread(target=self._serve, args=(connection, port), daemon=True).start()

    def _serve(self, connection: socket.socket, port: str) -> None:
        with suppress(OSError):  # the caller has its answer, or has closed the connection
            if self._ports[port] == "plain":
                _answer(connection, lambda _scope: {"peer": None, "scopes": []})
            else:
                self._serve_tls(connection, port)
        _close(connection)

    def _serve_tls(self, connection: socket.socket, port: str) -> None:
        context = server_context(self._directory)
        # a duplicate, so that a plain HTTP request still gets an answer and an orderly close
        with context.wrap_socket(
            connection.dup(), server_side=True, do_handshake_on_connect=False
        ) as tls:
            try:
                tls.do_handshake()
            except ssl.SSLError as error:
                if error.reason == "HTTP_REQUEST":
                    connection.sendall(BAD_REQUEST)
                return
            _answer(tls, lambda scope: self._decision(tls, port, scope))

    def _decision(self, tls: ssl.SSLSocket, port: str, scope: str) -> dict[str, Any]:
        """Return the caller and its scopes, or why it is rejected."""
        result: dict[str, Any] = {}
        try:
            result["peer"] = spiffe_id(tls.getpeercert())
            result["scopes"] = accepted(self._directory, result["peer"], port)
        except RejectedError as rejection:
            return {**result, "rejected": str(rejection)}
        if scope and scope not in result["scopes"]:
            return {**result, "rejected": f"the scope {scope} is not granted"}
        return {**result, "tls": tls.version()}


def _answer(connection: socket.socket, decide: Callable[[str], dict[str, Any]]) -> None:
    """Read a request and answer with the decision on its caller and scope."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < REQUEST_LIMIT:
        chunk = connection.recv(4096)
        if not chunk:
            return
        request += chunk
    _, _, rest = request.decode(errors="replace").partition(" ")
    query = parse_qs(urlsplit(rest.partition(" ")[0]).query)
    result = decide(query.get("scope", [""])[0])
    status = "403 Forbidden" if "rejected" in result else "200 OK"
    body = json.dumps(result).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)


def _close(connection: socket.socket) -> None:
    """Close without unread bytes, which would reset the connection before the caller reads why."""
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    except OSError:
        return
    finally:
        connection.close()


if __name__ == "__main__":
    Service(Path(sys.argv[1]), json.loads(sys.argv[2])).run()
