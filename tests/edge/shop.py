"""A shop on loopback: payments calls ledger with tokens from the issuer."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.edge.loopback import Issuer, ReceivedRequest, Reply, Server, Way, serving
from tests.issuer import builders as issuing
from tests.patience import PATIENCE
from tests.pki import builders as pki
from troth.edge.identity.files import Identity
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, bundle_document, bundle_map_document
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.errors import PKIError
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import private_key_pem
from troth.pki.tokens.checks import verify_access_token

DOMAIN = pki.DOMAIN
PAYMENTS, LEDGER = issuing.PAYMENTS, issuing.LEDGER
AUDIT = f"spiffe://{DOMAIN}/ns/finance/sa/audit"
ISSUER_ID = f"spiffe://{DOMAIN}/ns/troth-system/sa/troth-issuer"
LIFETIME = 60.0

INVALID = ("WWW-Authenticate", 'Bearer error="invalid_token"')
"""What a callee says of a token that is not good (RFC 6750)."""


@cache
def root() -> SigningAuthority:
    """One for the whole run: each that is made is another."""
    return pki.own_root()


class Clock:
    """A monotonic clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Shop:
    """The servers, and the files of payments. `way` is how payments reaches the issuer."""

    files: Path
    issuer: Issuer
    way: Way
    ledger: Server
    audit: Server
    outside: Server
    accounts: issuing.KnownAccounts
    clock: Clock = field(default_factory=Clock)
    generation: int = 0

    def identity(self) -> Identity:
        """The identity of payments, whose files are read every time."""
        looks = itertools.count(0.0, 10.0)
        return Identity(self.files / "identity", self.files / "bundle", clock=lambda: next(looks))

    @property
    def callees(self) -> dict[str, str]:
        return {self.ledger.url: "finance/ledger", self.audit.url: "finance/audit"}

    @property
    def fetches(self) -> list[ReceivedRequest]:
        """What the issuer was asked."""
        return self.issuer.seen

    def rotate(self) -> None:
        """Give payments a new certificate and key, as the kubelet does: all files at once."""
        self.generation += 1
        self.write()

    def write(self, **members: Any) -> None:
        document = identity_document(self.way.url) | members
        write_identity(self.files / "identity", document, f"payments-{self.generation}")

    def tidy(self, transport: Any) -> None:
        """Have a client go by the tests' clock."""
        transport._calls.cache._clock = self.clock


def identity_document(issuer: str) -> dict[str, Any]:
    return {
        "version": "v1alpha1",
        "spiffeID": PAYMENTS,
        "issuers": {DOMAIN: issuer},
        "issuerIDs": {DOMAIN: ISSUER_ID},
        "accepts": [],
        "calls": [
            {
                "name": "finance/ledger",
                "spiffeID": LEDGER,
                "ports": ["https"],
                "token": {"audience": LEDGER, "scopes": ["ledger.post"]},
            },
            {"name": "finance/audit", "spiffeID": AUDIT, "ports": ["https"]},
        ],
        "requires": {"context": []},
    }


def write_identity(mount: Path, document: dict[str, Any], key: str) -> None:
    """Replace a mount as the kubelet does, by turning one link."""
    authority = root()
    fresh = mount / f"..{key}-{time.monotonic_ns()}"
    fresh.mkdir(parents=True)
    leaf_key = pki.key(which=key)
    profile = LeafProfile(document["spiffeID"], ("localhost",), pki.DAY)
    (fresh / "tls.crt").write_bytes(issue(profile, leaf_key, authority, pki.NOW))
    (fresh / "tls.key").write_bytes(private_key_pem(leaf_key))
    (fresh / "ca.crt").write_bytes(b"".join(authority.authority.anchors))
    (fresh / "identity.json").write_text(json.dumps(document))
    link = mount / "..data_new"
    link.symlink_to(fresh.name)
    link.replace(mount / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt", "identity.json"):
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")


def write_bundle(mount: Path) -> None:
    mount.mkdir()
    keys = [public_jwk(issuing.signing_key().public_key())]
    bundles = {DOMAIN: bundle_document(root().authority.anchors, keys)}
    (mount / "bundle-map.json").write_text(json.dumps(bundle_map_document(bundles)))


def server_context(
    tmp: Path,
    spiffe_id: str,
    *,
    authority: SigningAuthority | None = None,
) -> ssl.SSLContext:
    """TLS of another workload on this host, with a certificate for `localhost`."""
    authority = authority or root()
    leaf_key = pki.key(which=spiffe_id)
    pair = tmp / f"{spiffe_id.rpartition('/')[2]}.pem"
    leaf = issue(LeafProfile(spiffe_id, ("localhost",), pki.DAY), leaf_key, authority, pki.NOW)
    pair.write_bytes(leaf + private_key_pem(leaf_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.load_verify_locations(cadata=b"".join(root().authority.anchors).decode())
    context.load_cert_chain(pair)
    return context


def judging(issuer: Way) -> Any:
    """A callee that takes a request with a good token, bound to the connection's certificate."""
    bundle = SPIFFEBundle(
        DOMAIN,
        root().authority.anchors,
        {
            jwk["kid"]: issuing.signing_key().public_key()
            for jwk in [public_jwk(issuing.signing_key().public_key())]
        },
    )

    def respond(seen: ReceivedRequest) -> Reply:
        if seen.token is None:
            return Reply(401, (("WWW-Authenticate", "Bearer"),))
        try:
            token = verify_access_token(
                seen.token,
                bundles={DOMAIN: bundle},
                issuers={DOMAIN: issuer.url},
                audience=LEDGER,
                now=time.time(),
            )
        except PKIError as error:
            return Reply(401, (INVALID,), json.dumps({"code": error.reason}).encode())
        if token.thumbprint not in (None, seen.thumbprint):
            return Reply(401, (INVALID,), b'{"code": "token-holder"}')
        return Reply(200, (), json.dumps({"scopes": sorted(token.scopes)}).encode())

    return respond


@contextmanager
def opened(tmp: Path) -> Iterator[Shop]:
    """The shop, open for business."""
    with ExitStack() as stack:
        way = Way(0)
        way.open()
        stack.callback(way.close)
        view = issuing.view(issuer=way.url)
        view["callers"][PAYMENTS]["startsTransactions"] = {
            "scopes": ["orders.place", "orders.view"],
            "context": ["channel"],
        }
        accounts = issuing.KnownAccounts(**{"account-token": ("shop", "payments")})
        app = issuing.issuer_app(issuing.configuration(view), accounts)
        write_identity(tmp / "issuer", {"spiffeID": ISSUER_ID}, "issuer")
        issuer = stack.enter_context(Issuer(app, tmp / "issuer").serving())
        way.target = issuer.port
        ledger, audit, outside = (
            stack.enter_context(serving(respond, context))
            for respond, context in (
                (judging(way), server_context(tmp, LEDGER)),
                (lambda _: Reply(), server_context(tmp, AUDIT)),
                (lambda _: Reply(), None),
            )
        )
        shop = Shop(tmp, issuer, way, ledger, audit, outside, accounts)
        write_bundle(tmp / "bundle")
        shop.write()
        yield shop


def until(condition: Any, seconds: float = PATIENCE) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def together(count: int, work: Any) -> list[Any]:
    """Run something in many threads at once."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(place: int) -> None:
        start.wait()
        results[place] = work()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
