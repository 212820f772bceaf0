"""Views, Secrets and callers for the issuer's tests."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.pki import builders as pki
from troth.issuer.configuration import IssuerConfiguration, read_configuration
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.errors import unavailable
from troth.issuer.service_accounts.token_review import Account
from troth.pki.bundles.spiffe_bundle import bundle_document
from troth.pki.certificates.authorities import SigningAuthority, load_signing_authority
from troth.pki.certificates.issuing import LeafProfile, create_root, issue
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import private_key_pem

DOMAIN = pki.DOMAIN
NAME = "production"
NAMESPACE = "troth-system"
ISSUER = f"https://{NAME}-issuer.{NAMESPACE}.svc:8443"
CHECKOUT, PAYMENTS, LEDGER = (
    f"spiffe://{DOMAIN}/ns/{namespace}/sa/{account}"
    for namespace, account in (("shop", "checkout"), ("shop", "payments"), ("finance", "ledger"))
)

VIEW: dict[str, Any] = {
    "version": "v1alpha1",
    "trustDomain": DOMAIN,
    "issuer": ISSUER,
    "maxLifetime": 900,
    "callers": {
        CHECKOUT: {
            "audiences": {
                PAYMENTS: {"scopes": ["payments.charge", "payments.refund"], "lifetime": 300}
            },
            "startsTransactions": {
                "scopes": ["orders.place", "orders.view"],
                "context": ["channel"],
            },
        },
        PAYMENTS: {"audiences": {LEDGER: {"scopes": ["ledger.post"], "lifetime": 60}}},
        LEDGER: {"audiences": {}},
    },
}
"""View in which checkout may call payments and start transactions, and payments may call ledger."""


def signing_key(which: str = "current") -> ec.EllipticCurvePrivateKey:
    """Return the key of a name, the same for the whole run."""
    return _signing_key(which)


@cache
def _signing_key(_which: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def root(which: str = "root", domain: str = DOMAIN) -> SigningAuthority:
    """Return the root of a name, the same for the whole run."""
    return _root(which, domain)


@cache
def _root(which: str, domain: str) -> SigningAuthority:
    signer = pki.key(which=which)
    certificate = create_root(domain, signer, pki.YEAR, pki.NOW - 7 * pki.DAY)
    return load_signing_authority(certificate, private_key_pem(signer), None, domain)


def view(**changes: Any) -> dict[str, Any]:
    """Return the view with changed members."""
    return copy.deepcopy(VIEW) | changes


def without_edge(caller: str = CHECKOUT, audience: str = PAYMENTS) -> dict[str, Any]:
    """Return the view without an edge."""
    changed = view()
    del changed["callers"][caller]["audiences"][audience]
    return changed


def secret_data(
    document: Mapping[str, Any] | None = None,
    *,
    current: str = "current",
    following: str | None = "next",
    retiring: str | None = None,
    published: tuple[str, ...] | None = None,
) -> dict[str, bytes]:
    """Return the data of Secret `<domain>-tokens`: keys by name, `published` in the bundle."""
    slots = [name for name in (current, following, retiring) if name]
    jwks = [public_jwk(signing_key(name).public_key()) for name in published or slots]
    roots = root().authority.anchors
    parts = {
        "current.key": private_key_pem(signing_key(current)),
        "view.json.gz": gzip.compress(json.dumps(document or VIEW).encode(), mtime=0),
        "bundle.json": json.dumps(bundle_document(roots, jwks)).encode(),
    }
    if following:
        parts["next.key"] = private_key_pem(signing_key(following))
    if retiring:
        parts["retiring.jwk"] = json.dumps(public_jwk(signing_key(retiring).public_key())).encode()
    return parts


def secret(
    parts: Mapping[str, bytes] | None = None, version: str = "1", namespace: str = NAMESPACE
) -> dict[str, Any]:
    """Return the Secret as the API server returns it."""
    data = parts if parts is not None else secret_data()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": f"{NAME}-tokens", "namespace": namespace, "resourceVersion": version},
        "data": {name: base64.b64encode(part).decode() for name, part in data.items()},
    }


def configuration(document: Mapping[str, Any] | None = None, **keys: Any) -> IssuerConfiguration:
    return read_configuration(secret(secret_data(document, **keys)))


def svid(spiffe_id: str = CHECKOUT, *dns_names: str, which: str = "root", **options: Any) -> bytes:
    """Return an X.509-SVID in PEM, issued by the domain's root."""
    domain = spiffe_id.split("/")[2]
    authority = root(which if domain == DOMAIN else domain, domain)
    profile = LeafProfile(spiffe_id, dns_names, options.get("lifetime", pki.DAY))
    leaf_key = pki.key(which=options.get("key", spiffe_id))
    return issue(profile, leaf_key, authority, options.get("now", pki.NOW))


class NoAccounts:
    """API server that identifies no token."""

    async def account(self, token: str, audience: str, peer: Hashable) -> Account:
        del token, audience, peer
        raise unavailable("nobody is asked here")


class KnownAccounts:
    """API server that knows some tokens."""

    def __init__(self, **accounts: tuple[str, str]) -> None:
        self.accounts = accounts
        self.asked: list[tuple[str, str]] = []

    async def account(self, token: str, audience: str, peer: Hashable) -> Account:
        del peer
        self.asked.append((token, audience))
        return Account(*self.accounts[token])


class Wire:
    """Middleware that adds the caller's certificate to the ASGI scope, as a TLS server does."""

    def __init__(self, inner: ASGIApp, certificate: bytes | None, error: str | None = None) -> None:
        self._inner = inner
        self._chain = [certificate.decode()] if certificate else []
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            tls = {"client_cert_chain": self._chain, "client_cert_error": self._error}
            scope["extensions"] = {"tls": tls}
        await self._inner(scope, receive, send)


def client(application: ASGIApp, certificate: bytes | None = None) -> httpx.AsyncClient:
    """Return a client with a certificate, or without one."""
    transport = httpx.ASGITransport(Wire(application, certificate))
    return httpx.AsyncClient(transport=transport, base_url=ISSUER)


def issuer_app(current: IssuerConfiguration | None = None, accounts: Any = None) -> ASGIApp:
    """Return the issuer's application for `configuration()`, or for another."""
    working = current or configuration()
    return app(lambda: working, accounts or NoAccounts(), Decisions())
