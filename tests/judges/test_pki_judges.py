"""Troth's certificates and keystores, judged by OpenSSL, go-spiffe and Java."""

from __future__ import annotations

import dataclasses
import json
import ssl
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.judges.handshakes import handshake
from tests.pki.builders import (
    DOMAIN,
    NOW,
    PAYMENTS,
    Made,
    by_hand,
    given,
    key,
    leaf,
    own_root,
    permitting,
    profile,
    uri,
)
from troth.pki.bundles.keystores import keystore_password, pkcs12_keystore, pkcs12_truststore
from troth.pki.bundles.trust_bundle import bundle_pem
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.certificates.subjects import Subject
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.judges.tools import Tool
    from troth.pki.certificates.authorities import SigningAuthority

PATH_JUDGE = Path(__file__).with_name("PathJudge.java")
FOREIGN = "other.example"
FOREIGN_ID = f"spiffe://{FOREIGN}/ns/shop/sa/payments"


def given_intermediate(algorithm: KeyAlgorithm) -> SigningAuthority:
    root = by_hand("root", algorithm=algorithm)
    upper = by_hand("upper", root, algorithm=algorithm)
    return given(by_hand("lower", upper, algorithm=algorithm, path_length=0), root, upper)


AUTHORITIES: dict[str, Callable[[KeyAlgorithm], SigningAuthority]] = {
    "own root": own_root,
    "given intermediate": given_intermediate,
}
EVERY_AUTHORITY = pytest.mark.parametrize("kind", AUTHORITIES)
EVERY_SIGNER = pytest.mark.parametrize("signer", KeyAlgorithm)
EVERY_LEAF = pytest.mark.parametrize("algorithm", KeyAlgorithm)


class Case:
    """The files that a judge reads."""

    def __init__(
        self, directory: Path, chain: bytes, authority: SigningAuthority, key_pem: bytes
    ) -> None:
        def write(name: str, content: bytes) -> Path:
            (directory / name).write_bytes(content)
            return directory / name

        first, *rest = read_certificates(chain, "the case")
        self.first = fingerprint(first)
        self.svid = write("svid.pem", chain)
        self.key = write("svid.key", key_pem)
        self.untrusted = write("untrusted.pem", b"".join(authority.authority.certificates))
        self.bundle = write("bundle.pem", bundle_pem(authority.authority.anchors).encode())
        assert len(rest) == len(authority.authority.certificates)

    def openssl(self, openssl: Tool, *options: str | Path) -> tuple[bool, str]:
        below: list[str | Path] = []
        if self.untrusted.stat().st_size:
            below = ["-untrusted", self.untrusted]
        return openssl(
            "verify", "-x509_strict", *options, "-CAfile", self.bundle, *below, self.svid
        )

    def spiffe(
        self, judge: Tool, *options: str | Path, trust_domain: str = DOMAIN
    ) -> tuple[bool, str]:
        """Return whether the SVID is valid, and its SPIFFE ID or its fault."""
        able, said = judge(
            "verify", "--svid", self.svid, "--bundle", self.bundle,
            "--trust-domain", trust_domain, *options,
        )  # fmt: skip
        verdict = json.loads(said)
        assert able == verdict["ok"]
        return able, verdict["id"] or verdict["error"]


def case(
    directory: Path, authority: SigningAuthority, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
) -> Case:
    wanted = of_identity("payments", "localhost", "payments.shop.svc")
    chain = issue(wanted, key(algorithm), authority, NOW)
    return Case(directory, chain, authority, private_key_pem(key(algorithm)))


def of_identity(name: str, *dns_names: str) -> LeafProfile:
    return dataclasses.replace(profile(*dns_names), subject=Subject(name, "shop"))


def foreign_leaf(authority: SigningAuthority) -> bytes:
    """Return an SVID of another trust domain, which a thief of the key could sign."""
    unbound = dataclasses.replace(authority.authority, trust_domain=FOREIGN, name_constraints=())
    thief = dataclasses.replace(authority, authority=unbound)
    return issue(profile(spiffe_id=FOREIGN_ID), key(), thief, NOW)


@EVERY_AUTHORITY
@EVERY_SIGNER
@EVERY_LEAF
def test_openssl_accepts_every_leaf_of_every_authority_strictly(
    tmp_path: Path, openssl: Tool, kind: str, signer: KeyAlgorithm, algorithm: KeyAlgorithm
) -> None:
    asked = case(tmp_path, AUTHORITIES[kind](signer), algorithm)
    for purpose in ("sslserver", "sslclient"):
        good, said = asked.openssl(openssl, "-check_ss_sig", "-purpose", purpose)
        assert good, said


@EVERY_AUTHORITY
@EVERY_SIGNER
@EVERY_LEAF
def test_go_spiffe_accepts_every_leaf_of_every_authority_with_its_key(
    tmp_path: Path, svid_judge: Tool, kind: str, signer: KeyAlgorithm, algorithm: KeyAlgorithm
) -> None:
    asked = case(tmp_path, AUTHORITIES[kind](signer), algorithm)
    assert asked.spiffe(svid_judge, "--key", asked.key) == (True, PAYMENTS)


def test_java_accepts_every_leaf_of_every_authority(tmp_path: Path, java: Tool) -> None:
    pairs: list[Path] = []
    for kind, make in AUTHORITIES.items():
        for signer in KeyAlgorithm:
            for algorithm in KeyAlgorithm:
                directory = tmp_path / kind / signer / algorithm
                directory.mkdir(parents=True)
                asked = case(directory, make(signer), algorithm)
                pairs += [asked.bundle, asked.svid]
    good, said = java(PATH_JUDGE, *pairs)  # one start for all, because Java starts slowly
    assert good, said
    assert said.splitlines() == ["ok"] * (len(pairs) // 2)


@EVERY_AUTHORITY
def test_leaf_without_a_subject_is_valid(
    tmp_path: Path, openssl: Tool, svid_judge: Tool, kind: str
) -> None:
    authority = AUTHORITIES[kind](KeyAlgorithm.ECDSA_P256)
    asked = Case(tmp_path, leaf(authority), authority, private_key_pem(key()))
    assert asked.openssl(openssl)[0]
    assert asked.spiffe(svid_judge) == (True, PAYMENTS)


def test_identity_with_the_name_of_a_host_does_not_verify_as_the_host(
    tmp_path: Path, openssl: Tool
) -> None:
    host, authority = "payments.shop.svc", own_root()
    named = issue(of_identity(host), key(), authority, NOW)
    asked = Case(tmp_path, named, authority, private_key_pem(key()))
    assert asked.openssl(openssl)[0]
    assert not asked.openssl(openssl, "-verify_hostname", host)[0]


def test_common_name_with_the_name_of_a_host_verifies_as_the_host(
    tmp_path: Path, openssl: Tool
) -> None:
    """This is why the subject has no common name."""
    host, authority = "payments.shop.svc", own_root()
    issuer = Made(authority.certificate, authority.private_key)
    made = by_hand(host, issuer, ca=False, names=[uri(PAYMENTS)])
    asked = Case(tmp_path, made.pem, authority, made.key_pem)
    assert asked.openssl(openssl, "-verify_hostname", host)[0]


def test_only_leaf_without_a_subject_is_valid_below_directory_constraints(
    tmp_path: Path, openssl: Tool
) -> None:
    organization = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp")])
    root = by_hand("root")
    lower = by_hand("lower", root, constraints=permitting(x509.DirectoryName(organization)))
    authority = given(lower, root)
    asked = Case(tmp_path, leaf(authority), authority, private_key_pem(key()))
    assert asked.openssl(openssl)[0]
    made = by_hand("payments", lower, ca=False, names=[uri(PAYMENTS)])
    asked.svid.write_bytes(made.pem)
    good, said = asked.openssl(openssl)
    assert not good
    assert "permitted subtree violation" in said


@EVERY_AUTHORITY
def test_leaf_is_rejected_below_another_root(
    tmp_path: Path, openssl: Tool, svid_judge: Tool, kind: str
) -> None:
    asked = case(tmp_path, AUTHORITIES[kind](KeyAlgorithm.ECDSA_P256))
    asked.bundle.write_bytes(own_root(which="another").authority.anchors[0])
    assert not asked.openssl(openssl)[0]
    assert not asked.spiffe(svid_judge)[0]


@EVERY_AUTHORITY
def test_leaf_is_rejected_in_another_trust_domain(
    tmp_path: Path, svid_judge: Tool, kind: str
) -> None:
    asked = case(tmp_path, AUTHORITIES[kind](KeyAlgorithm.ECDSA_P256))
    good, said = asked.spiffe(svid_judge, trust_domain=FOREIGN)
    assert not good
    assert "no X.509 bundle found for trust domain" in said


def test_stolen_root_key_cannot_sign_for_another_trust_domain(
    tmp_path: Path, openssl: Tool, svid_judge: Tool
) -> None:
    authority = own_root()
    asked = Case(tmp_path, foreign_leaf(authority), authority, private_key_pem(key()))
    good, said = asked.openssl(openssl)
    assert not good
    assert "permitted subtree violation" in said
    good, said = asked.spiffe(svid_judge, trust_domain=FOREIGN)
    assert not good
    assert "not permitted by any constraint" in said


def test_stolen_root_key_cannot_sign_for_an_address(tmp_path: Path, openssl: Tool) -> None:
    authority = own_root()
    root = read_certificates(authority.authority.anchors[0], "the root")[0]
    names = [uri(PAYMENTS), x509.IPAddress(ip_address("192.0.2.1"))]
    made = by_hand("thief", Made(root, authority.private_key), ca=False, names=names)
    asked = Case(tmp_path, made.pem, authority, made.key_pem)
    good, said = asked.openssl(openssl)
    assert not good
    assert "excluded subtree violation" in said


def test_java_rejects_another_trust_domain_below_a_confined_intermediate(
    tmp_path: Path, java: Tool
) -> None:
    root = by_hand("root")
    authority = given(by_hand("lower", root, constraints=permitting(uri(DOMAIN))), root)
    asked = Case(tmp_path, foreign_leaf(authority), authority, private_key_pem(key()))
    own = tmp_path / "own.pem"
    own.write_bytes(leaf(authority))
    good, said = java(PATH_JUDGE, asked.bundle, own, asked.bundle, asked.svid)
    assert good, said
    accepted, refused = said.splitlines()
    assert accepted == "ok"
    assert "name constraints check failed" in refused


def test_leaves_of_both_roots_are_valid_during_a_rotation(
    tmp_path: Path, openssl: Tool, svid_judge: Tool
) -> None:
    older, newer = own_root(), own_root(which="another")
    both = bundle_pem([*older.authority.anchors, *newer.authority.anchors])
    for name, authority in (("older", older), ("newer", newer)):
        (tmp_path / name).mkdir()
        asked = case(tmp_path / name, authority)
        asked.bundle.write_text(both)
        assert asked.openssl(openssl)[0]
        assert asked.spiffe(svid_judge)[0]


@pytest.mark.parametrize(
    ("moment", "good"),
    [
        (NOW, True),
        (NOW - timedelta(minutes=4), True),
        (NOW - timedelta(minutes=6), False),
        (NOW + timedelta(hours=23), True),
        (NOW + timedelta(hours=25), False),
    ],
)
def test_leaf_is_valid_from_shortly_before_its_issue_until_it_expires(
    tmp_path: Path, openssl: Tool, svid_judge: Tool, moment: datetime, *, good: bool
) -> None:
    asked = case(tmp_path, own_root())
    at = str(int(moment.timestamp()))
    assert asked.openssl(openssl, "-attime", at)[0] is good
    assert asked.spiffe(svid_judge, "--time", moment.isoformat())[0] is good


def test_svid_judge_rejects_a_key_that_is_not_the_leafs(tmp_path: Path, svid_judge: Tool) -> None:
    asked = case(tmp_path, own_root())
    asked.key.write_bytes(private_key_pem(key(which="other")))
    assert not asked.spiffe(svid_judge, "--key", asked.key)[0]


def test_svid_judge_rejects_a_leaf_that_may_sign_certificates(
    tmp_path: Path, svid_judge: Tool
) -> None:
    root = by_hand("root")
    made = by_hand("leaf", root, ca=False, signs=True, names=[uri(PAYMENTS)])
    svid, bundle = tmp_path / "svid.pem", tmp_path / "bundle.pem"
    svid.write_bytes(made.pem)
    bundle.write_bytes(root.pem)
    good, said = svid_judge("verify", "--svid", svid, "--bundle", bundle, "--trust-domain", DOMAIN)
    assert not good
    assert "KeyCertSign" in json.loads(said)["error"]


@EVERY_AUTHORITY
@EVERY_LEAF
def test_two_programs_complete_a_tls_handshake(
    tmp_path: Path, kind: str, algorithm: KeyAlgorithm
) -> None:
    """The programs use Python's `ssl`, which is OpenSSL: mutual, strict, with a host name check."""
    asked = case(tmp_path, AUTHORITIES[kind](KeyAlgorithm.ECDSA_P256), algorithm)
    server, client = (
        ssl.SSLContext(protocol) for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    for context in (server, client):
        context.load_cert_chain(asked.svid, asked.key)
        context.load_verify_locations(asked.bundle)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    for end in handshake(server, client, "payments.shop.svc"):
        peer = end.getpeercert()
        assert peer is not None
        assert ("URI", PAYMENTS) in peer["subjectAltName"]


@EVERY_AUTHORITY
@EVERY_LEAF
def test_keytool_reads_a_keystore(
    tmp_path: Path, keytool: Tool, kind: str, algorithm: KeyAlgorithm
) -> None:
    authority = AUTHORITIES[kind](KeyAlgorithm.ECDSA_P256)
    asked, password = case(tmp_path, authority, algorithm), keystore_password()
    store = tmp_path / "keystore.p12"
    store.write_bytes(
        pkcs12_keystore(
            key(algorithm), asked.svid.read_bytes(), authority.authority.anchors, password
        )
    )
    good, said = keytool("-list", "-v", "-keystore", store, "-storepass", password)
    assert good, said
    assert "Your keystore contains 1 entry" in said
    assert "Entry type: PrivateKeyEntry" in said
    assert f"Certificate chain length: {len(authority.authority.certificates) + 2}" in said
    assert asked.first in said.replace(":", "").lower()
    assert not keytool("-list", "-keystore", store, "-storepass", "not-the-password")[0]


def test_keytool_reads_a_truststore(tmp_path: Path, keytool: Tool) -> None:
    anchors = [own_root().authority.anchors[0], own_root(which="another").authority.anchors[0]]
    store, password = tmp_path / "truststore.p12", keystore_password()
    store.write_bytes(pkcs12_truststore(anchors, password))
    good, said = keytool("-list", "-keystore", store, "-storepass", password)
    assert good, said
    assert "Your keystore contains 2 entries" in said
    assert said.count("trustedCertEntry") == 2


@EVERY_LEAF
def test_openssl_reads_a_keystore_with_its_modern_defaults(
    tmp_path: Path, openssl: Tool, algorithm: KeyAlgorithm
) -> None:
    asked, password = case(tmp_path, own_root(), algorithm), keystore_password()
    store = tmp_path / "keystore.p12"
    store.write_bytes(pkcs12_keystore(key(algorithm), asked.svid.read_bytes(), [], password))
    good, said = openssl("pkcs12", "-in", store, "-info", "-noout", "-passin", f"pass:{password}")
    assert good, said
    assert "AES-256-CBC" in said
    assert "MAC: sha256" in said
