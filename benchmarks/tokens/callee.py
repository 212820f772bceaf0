"""A callee without a server: the files that it mounts, and requests in its server's format."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness.domain import ISSUER, NAME, SVID, Domain, identity, write_tls
from troth.edge.identity.files import Identity
from troth.edge.inbound.wsgi import CHAIN_KEY, HEADERS_KEY
from troth.pki.bundles.spiffe_bundle import bundle_map_document
from troth.pki.tokens.signing import TokenSigner

PORT = "https"
OWN = "payments"
LIFETIME = timedelta(minutes=5)

HEADERS = {
    "Host": "payments.shop.svc:8443",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "User-Agent": "python-httpx/0.28.1",
    "Content-Type": "application/json",
    "Content-Length": "42",
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
"""Headers of a request besides the tokens."""


def mount(directory: Path, domain: Domain) -> Identity:
    """Write the files that the callee mounts.

    The callee accepts tokens, and transaction tokens with a tenant.
    """
    own = domain.svid(OWN)
    write_tls(directory, own, domain.anchors)
    (directory / "identity.json").write_text(json.dumps(_document(own)))
    bundles = bundle_map_document({NAME: domain.bundle()})
    (directory / "bundle-map.json").write_text(json.dumps(bundles))
    return Identity(directory, directory)


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that the callee accepts, and its tokens."""

    svid: SVID
    signer: TokenSigner
    chain: tuple[str, ...] = field(init=False)
    """Certificate of the caller in the format of servers; one object for a whole connection."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain", (self.svid.certificate.decode(),))

    def token(self) -> str:
        """Return a new access token for the callee."""
        return self.signer.access_token(
            issuer=ISSUER,
            subject=self.svid.spiffe_id,
            audience=identity(OWN),
            scopes=("payments.charge",),
            lifetime=LIFETIME,
            now=datetime.now(UTC),
            certificate=self.svid.der,
            token_id=str(uuid.uuid4()),
        )

    def transaction(self) -> str:
        """Return a new transaction token."""
        now = datetime.now(UTC)
        return self.signer.transaction_token(
            issuer=ISSUER,
            trust_domain=NAME,
            transaction=str(uuid.uuid4()),
            subject="customer-4711",
            scopes=("orders.place",),
            requester=self.svid.spiffe_id,
            context={"tenant": "blue", "channel": "web"},
            request={"req_ip": "192.0.2.1", "authn": "urn:ietf:rfc:6749"},
            expires=now + LIFETIME,
            now=now,
        )

    def scope(self, token: str, transaction: str) -> dict[str, Any]:
        """Return a request in the format of an ASGI server."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("10.0.0.2", 8443),
            "client": ("10.0.0.1", 41000),
            "scheme": "https",
            "root_path": "",
            "method": "POST",
            "path": "/charges",
            "raw_path": b"/charges",
            "query_string": b"",
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in _headers(token, transaction)
            ],
            "state": {},
            "extensions": {
                "tls": {
                    "server_cert": None,
                    "client_cert_chain": self.chain,
                    "client_cert_name": "",
                    "client_cert_error": None,
                    "tls_version": 0x0304,
                    "cipher_suite": 0x1301,
                }
            },
        }

    def environ(self, token: str, transaction: str) -> dict[str, Any]:
        """Return a request in the format of a WSGI server."""
        headers = [(name.upper(), value) for name, value in _headers(token, transaction)]
        return {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/charges",
            "QUERY_STRING": "",
            "SERVER_NAME": "10.0.0.2",
            "SERVER_PORT": "8443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "https",
            **{f"HTTP_{name.replace('-', '_')}": value for name, value in headers},
            CHAIN_KEY: self.chain,
            HEADERS_KEY: headers,
        }


def caller(domain: Domain) -> Caller:
    """Return the caller that the callee accepts."""
    return Caller(domain.svid("checkout"), TokenSigner(domain.token_key))


def _headers(token: str, transaction: str) -> Iterator[tuple[str, str]]:
    yield from HEADERS.items()
    yield "Authorization", f"Bearer {token}"
    yield "Txn-Token", transaction


def _document(own: SVID) -> dict[str, Any]:
    ports = [{"name": PORT, "scopes": ["payments.charge", "payments.refund"]}]
    callers = ["checkout", *(f"s{number}" for number in range(20))]
    return {
        "version": "v1alpha1",
        "spiffeID": own.spiffe_id,
        "issuers": {NAME: ISSUER},
        "accepts": [{"spiffeID": identity(each), "ports": ports} for each in callers],
        "calls": [],
        "requires": {
            "context": ["RequestID", "Subject", "Tenant"],
            "token": {"audience": own.spiffe_id, "proofOfPossession": "Required"},
        },
    }
