"""TLS libraries on the two certificates of a root: what each verifier of a trust domain accepts.

Libraries differ in name constraints, as the decision on two certificates of each root explains. The
domain `DOMAIN` federates with `PEER`. Its flat store has its own plain root and the peer's confined
one; its truststore has only its own root.
"""

from __future__ import annotations

import dataclasses
import ssl
import sys
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tests.judges.handshakes import handshake
from tests.judges.tls_servers import BoringServer, RustlsServer, Svid, TlsServer
from tests.judges.tools import Tool, tool
from tests.pki.builders import DOMAIN, NOW, PAYMENTS, key, own_root, profile
from troth.pki.bundles.keystores import pkcs12_truststore
from troth.pki.bundles.trust_bundle import bundle_pem
from troth.pki.certificates.authorities import SigningAuthority, load_signing_authority
from troth.pki.certificates.issuing import create_root, issue
from troth.pki.certificates.pairs import plain_certificate
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.keys.private import private_key_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Judge = Callable[[bytes, bytes], bool]
    """Whether a store accepts a client with a chain."""

TRUST_MANAGER_JUDGE = Path(__file__).with_name("TrustManagerJudge.java")
CLIENT_JUDGE = Path(__file__).with_name("client_judge.mjs")
SERVERS = {"envoy": BoringServer, "rustls": RustlsServer}
PEER = "peer.example"
PEER_ID = f"spiffe://{PEER}/ns/shop/sa/payments"
NAMES = {"U": (), "D": (f"payments.{DOMAIN}",), "S": ("payments.shop.svc", "pay.shop.svc")}
"""DNS names of a leaf: none, one of the trust domain, those of Services."""
ENFORCING = ["envoy", "go", "node", "openssl", "python"]
"""Stacks that enforce the name constraints of a root; Envoy's library is BoringSSL."""
WITHOUT_URIS = ["cryptography", "rustls"]
"""Libraries that accept no leaf below a root with constraints for URIs."""
STACKS = [*ENFORCING, *WITHOUT_URIS]


class Root(NamedTuple):
    """A root: what it signs with, and its two certificates."""

    signer: SigningAuthority
    confined: bytes
    plain: bytes


@cache
def root(domain: str) -> Root:
    signer = own_root(domain=domain, which=domain)
    plain = plain_certificate(signer.certificate, signer.private_key)
    return Root(signer, write_certificates([signer.certificate]), plain)


@cache
def leaf(signer: str, spiffe_id: str, names: str) -> bytes:
    """Return a leaf that the root of a domain signs, with an ID of any domain."""
    authority = root(signer).signer
    domain = spiffe_id.split("/")[2]
    facts = dataclasses.replace(authority.authority, trust_domain=domain, name_constraints=())
    thief = dataclasses.replace(authority, authority=facts)
    return issue(profile(*NAMES[names], spiffe_id=spiffe_id), key(), thief, NOW)


def leaves() -> dict[str, bytes]:
    """Return leaves by name: own ones, those of the peer, and own IDs that the peer signed."""
    return {
        f"{kind} {names}": leaf(signer, spiffe_id, names)
        for kind, signer, spiffe_id in (
            ("own", DOMAIN, PAYMENTS),
            ("peer", PEER, PEER_ID),
            ("foreign", PEER, PAYMENTS),
        )
        for names in NAMES
    }


FLAT = bundle_pem([root(DOMAIN).plain, root(PEER).confined]).encode()
TWO_CONFINED = bundle_pem([root(DOMAIN).confined, root(PEER).confined]).encode()
OWN = root(DOMAIN).plain
OWN_LEAVES = {f"own {names}" for names in NAMES}
PEER_LEAVES = {f"peer {names}" for names in NAMES}
FOREIGN_LEAVES = {f"foreign {names}" for names in NAMES}


class Files:
    """The files that a judge reads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.key = self.write("svid.key", private_key_pem(key()))

    def write(self, name: str, content: bytes) -> Path:
        place = self._directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return place

    def case(self, store: bytes, chain: bytes) -> tuple[Path, Path]:
        return self.write("roots.pem", store), self.write("svid.pem", chain)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def judge(request: pytest.FixtureRequest, files: Files) -> Judge:
    """Return whether a library accepts a client with a chain below one of the roots."""
    stack: str = request.param
    if stack in SERVERS:
        if stack == "envoy" and sys.platform != "linux":
            pytest.skip("there is no package of Envoy for this platform")
        by_server: Callable[[str], Judge] = request.getfixturevalue("by_server")
        return by_server(stack)
    if stack == "python":
        return lambda store, chain: by_python(files, store, chain)
    if stack == "cryptography":
        return by_cryptography
    if stack == "go":
        return lambda store, chain: by_go(
            request.getfixturevalue("svid_judge"), files.case(store, chain), chain
        )
    if stack == "openssl":
        return lambda store, chain: by_openssl(
            request.getfixturevalue("openssl"), *files.case(store, chain)
        )
    node = tool("node")
    return lambda store, chain: by_node(node, *files.case(store, chain), files.key)


@pytest.fixture
def by_server(files: Files) -> Iterator[Callable[[str], Judge]]:
    """Return the judge that a kind of server is; one runs for each store that is asked for."""
    own = Svid(files.write("server.pem", leaf(DOMAIN, PAYMENTS, "S")), files.key)
    running: dict[bytes, TlsServer] = {}
    with ExitStack() as servers:

        def ask(stack: str, store: bytes, chain: bytes) -> bool:
            if store not in running:
                roots = files.write(f"roots-{len(running)}.pem", store)
                server = SERVERS[stack].serving(roots.with_suffix(""), own, roots)
                running[store] = servers.enter_context(server)
            return running[store].accepts(Svid(files.write("svid.pem", chain), files.key))

        yield lambda stack: partial(ask, stack)


def by_openssl(openssl: Tool, store: Path, chain: Path) -> bool:
    return openssl(
        "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", store,
        "-untrusted", chain, chain,
    )[0]  # fmt: skip


def by_go(svid_judge: Tool, case: tuple[Path, Path], chain: bytes) -> bool:
    """Return Go's verdict; go-spiffe gets the store as that of the ID's own domain."""
    store, svid = case
    foreign = chain in [each for name, each in leaves().items() if name.startswith("peer")]
    domain = PEER if foreign else DOMAIN
    return svid_judge("verify", "--svid", svid, "--bundle", store, "--trust-domain", domain)[0]


def by_node(node: Tool, store: Path, chain: Path, key_file: Path) -> bool:
    succeeded, said = node(CLIENT_JUDGE, store, chain, key_file)
    assert succeeded, said
    return said.strip() == "ok"


def by_cryptography(store: bytes, chain: bytes) -> bool:
    """Return the verdict of `cryptography`."""
    verifier = PolicyBuilder().time(NOW).store(Store(read_certificates(store, "the store")))
    certificate, *rest = read_certificates(chain, "the chain")
    try:
        verifier.build_client_verifier().verify(certificate, rest)
    except VerificationError:
        return False
    return True


def by_python(files: Files, store: bytes, chain: bytes) -> bool:
    roots, svid = files.case(store, chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (server, client):
        context.load_cert_chain(svid, files.key)
    server.load_verify_locations(roots)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        answering, _ = handshake(server, client)
    except ssl.SSLCertVerificationError:
        return False
    return answering.getpeercert() is not None


def every(stacks: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("judge", stacks, indirect=True)


def accepted(judge: Judge, store: bytes) -> set[str]:
    return {name for name, chain in leaves().items() if judge(store, chain)}


@every(ENFORCING)
def test_flat_store_serves_the_domain_and_its_peers_and_confines_the_peers(
    judge: Judge,
) -> None:
    assert accepted(judge, FLAT) == OWN_LEAVES | PEER_LEAVES


@every(WITHOUT_URIS)
def test_library_without_uri_constraints_serves_its_own_domain(
    judge: Judge,
) -> None:
    """Name checks demand a DNS name of it, so it accepts no client without one."""
    assert accepted(judge, FLAT) == OWN_LEAVES
    assert accepted(judge, TWO_CONFINED) == set()


@every(STACKS)
def test_store_of_the_domain_alone_accepts_its_own_leaves_only(
    judge: Judge,
) -> None:
    assert accepted(judge, OWN) == OWN_LEAVES


@every(STACKS)
@pytest.mark.parametrize("sent", ["confined", "plain"])
def test_root_in_the_clients_chain_does_not_disturb(judge: Judge, sent: str) -> None:
    """A Java program sends the root in its keystore, which may be the other certificate of it."""
    root_sent = getattr(root(DOMAIN), sent)
    for names in NAMES:
        assert judge(FLAT, leaf(DOMAIN, PAYMENTS, names) + root_sent)


@every(ENFORCING)
@pytest.mark.parametrize("names", NAMES)
def test_peers_plain_root_in_the_chain_frees_no_peer(judge: Judge, names: str) -> None:
    assert not judge(FLAT, leaf(PEER, PAYMENTS, names) + root(PEER).plain)


# Java


def by_java(java: Tool, *pairs: tuple[Path, Path]) -> list[bool]:
    """Return the verdicts of Java's trust manager on stores and chains, in one start."""
    succeeded, said = java(TRUST_MANAGER_JUDGE, *(each for pair in pairs for each in pair))
    assert succeeded, said
    verdicts = [line == "ok" for line in said.splitlines()]
    assert len(verdicts) == len(pairs), said
    return verdicts


def truststore(files: Files) -> Path:
    files.write("truststore.p12.password", b"a password")
    return files.write("truststore.p12", pkcs12_truststore([OWN], "a password"))


def test_java_accepts_only_its_own_domain_by_the_truststore_and_peers_by_their_domain(
    files: Files, java: Tool
) -> None:
    """Why federated roots are not in the truststore: Java lets either root vouch for any ID."""
    stores = {
        "two confined": files.write("two.pem", TWO_CONFINED),
        "flat": files.write("flat.pem", FLAT),
        "truststore": truststore(files),
        "by domain": files.write(f"domains/{DOMAIN}.pem", OWN).parent,
    }
    files.write(f"domains/{PEER}.pem", root(PEER).confined)
    chains = {name: files.write(f"{name}.pem", chain) for name, chain in leaves().items()}
    asked = [(store, name) for store in stores for name in chains]
    verdicts = by_java(java, *((stores[store], chains[name]) for store, name in asked))
    found = {
        store: {
            name for (of, name), good in zip(asked, verdicts, strict=True) if good and of == store
        }
        for store in stores
    }
    assert found["two confined"] == found["flat"] == OWN_LEAVES | PEER_LEAVES | FOREIGN_LEAVES
    assert found["truststore"] == OWN_LEAVES
    assert found["by domain"] == OWN_LEAVES | PEER_LEAVES


def test_java_accepts_a_chain_with_the_other_certificate_of_the_root(
    files: Files, java: Tool
) -> None:
    certificate = leaf(DOMAIN, PAYMENTS, "S")
    stores = [truststore(files), files.write("confined.pem", root(DOMAIN).confined)]
    chains = [
        files.write(f"{number}.pem", certificate + sent)
        for number, sent in enumerate((root(DOMAIN).confined, root(DOMAIN).plain))
    ]
    assert by_java(java, *((store, chain) for store in stores for chain in chains)) == [True] * 4


# The upgrade of an older installation


@every(STACKS)
def test_leaf_of_an_older_installation_is_valid_below_the_plain_root_of_its_key(
    judge: Judge,
) -> None:
    pem = create_root(DOMAIN, key(which="old"), profile().lifetime, NOW)
    old = load_signing_authority(pem, private_key_pem(key(which="old")), None, DOMAIN)
    chain = issue(profile("payments.shop.svc"), key(), old, NOW)
    plain = plain_certificate(old.certificate, old.private_key)
    upgraded = bundle_pem([plain, root(PEER).confined]).encode()
    assert judge(upgraded, chain)
