"""Certificate authorities read from Secrets: a self-managed root, or a CA that the user provides.

Both have the same three files, as in `kubernetes.io/tls` Secrets and in cert-manager: `tls.crt`
holds the issuing certificate and its chain, `tls.key` the key, `ca.crt` the root. An authority
whose leaves every verifier would reject raises an error here, once, that says what to change. An
expired authority raises none: planning compares its validity with the clock.
"""

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from troth.pki.certificates import paths
from troth.pki.certificates.constraints import NameConstraints
from troth.pki.certificates.leaf import Leaf
from troth.pki.certificates.pairs import check_constraints_agree, read_plain
from troth.pki.encodings.pem import (
    MAX_CHAIN_BYTES,
    fingerprint,
    public_key,
    read_certificates,
    write_certificates,
)
from troth.pki.errors import AuthorityError, KeyMaterialError
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import algorithm_of, load_private_key, same_key
from troth.pki.spiffe import check_trust_domain
from troth.resources.algorithms import KeyAlgorithm


@dataclass(frozen=True, slots=True)
class Authority:
    """Public facts of a certificate authority.

    `fingerprint` is the SHA-256 of the issuing certificate and `subject_key_id` its key identifier,
    both in hexadecimal. `certificates` (PEM, one each) are served after a leaf: from the issuing
    certificate upwards, without the anchor. They are empty for a self-managed root. `anchors` (PEM,
    one each) are what verifiers of the trust domain trust. `confined` (PEM, one each) are what
    those of other domains may trust: certificates of the same roots whose name constraints confine
    each to this trust domain, empty if a root has none. `not_before` and `not_after` are the
    validity of the whole path, anchor included. `name_constraints` are those of the path, anchor
    last.
    """

    trust_domain: str
    fingerprint: str
    subject_key_id: str
    algorithm: KeyAlgorithm
    certificates: tuple[bytes, ...]
    anchors: tuple[bytes, ...]
    not_before: datetime
    not_after: datetime
    confined: tuple[bytes, ...]
    name_constraints: tuple[NameConstraints, ...]
    chain: tuple[str, ...]

    def valid_at(self, moment: datetime) -> bool:
        """Return whether every certificate of the path is valid at `moment` (aware)."""
        return self.not_before <= moment < self.not_after

    def issued(self, leaf: Leaf) -> bool:
        """Return whether the leaf names this authority's key and has exactly its chain.

        False for a leaf of the same key with an older chain. It is still valid, but an intermediate
        in its chain may expire before the authority's current path.
        """
        return leaf.authority_key_id == self.subject_key_id and leaf.chain == self.chain

    def signed(self, leaf: Leaf) -> bool:
        """Return whether this authority's key signed the leaf.

        Anyone who can write a Secret can name any authority in a certificate. This takes about 0.1
        ms; `World.signatures` remembers the result.
        """
        if leaf.authority_key_id != self.subject_key_id:
            return False
        certificate = x509.load_der_x509_certificate(leaf.certificate)
        places = self.certificates[:1] or (*self.anchors, *self.confined)
        issuing = map(x509.load_pem_x509_certificate, places)
        return any(
            fingerprint(each) == self.fingerprint and paths.is_signed(certificate, each)
            for each in issuing
        )


@dataclass(frozen=True, slots=True)
class SigningAuthority:
    """Certificate authority with its private key, which is never in the `repr`."""

    authority: Authority
    certificate: x509.Certificate = field(repr=False)
    private_key: PrivateKey = field(repr=False)


def load_authority(
    tls_crt: bytes,
    tls_key: bytes | None,
    ca_crt: bytes | None,
    trust_domain: str,
    plain_crt: bytes = b"",
) -> Authority:
    """Return the public facts of an authority from the values of its Secret.

    The anchors are the certificates of `ca.crt`, or without it the last certificate of `tls.crt`,
    which must then be self-signed. The key is checked too, unless `tls_key` is None. `plain_crt` is
    the plain certificate of a confined root. Anything else there is ignored, and so is all of it if
    there is a `ca.crt`, whose owner decides about the anchors. Raises a `PKIError` that names the
    file and says what to put there.
    """
    certificate, authority = _load(tls_crt, ca_crt, trust_domain, plain_crt)
    if tls_key is not None:
        _key_of(certificate, tls_key)
    return authority


def load_signing_authority(
    tls_crt: bytes, tls_key: bytes | None, ca_crt: bytes | None, trust_domain: str
) -> SigningAuthority:
    """Return an authority that can issue. Like `load_authority`, but the key is required."""
    certificate, authority = _load(tls_crt, ca_crt, trust_domain)
    return SigningAuthority(authority, certificate, _key_of(certificate, tls_key or b""))


def _load(
    tls_crt: bytes, ca_crt: bytes | None, trust_domain: str, plain_crt: bytes = b""
) -> tuple[x509.Certificate, Authority]:
    check_trust_domain(trust_domain)
    chain = read_certificates(tls_crt, "tls.crt", comments=True, most=MAX_CHAIN_BYTES)
    anchors = _anchors(chain, ca_crt)
    issuing, served = chain[0], list(chain)
    while served and served[-1] in anchors:
        served.pop()
    path = paths.to_anchor(served, anchors) if served else (issuing,)
    constraints = tuple(NameConstraints.of(certificate) for certificate in path)
    paths.check(path)
    _check_trust_domain_allowed(constraints, trust_domain)
    is_confined = all(NameConstraints.of(each).only_uri_host == trust_domain for each in anchors)
    confined = anchors if is_confined else []
    if plain_crt and ca_crt is None and confined == [issuing]:
        plain = read_plain(plain_crt, issuing)
        anchors = [plain] if plain is not None else anchors
    return issuing, Authority(
        trust_domain=trust_domain,
        fingerprint=fingerprint(issuing),
        subject_key_id=paths.subject_key_id(issuing).hex(),
        algorithm=algorithm_of(public_key(issuing)),
        certificates=tuple(write_certificates([certificate]) for certificate in served),
        anchors=tuple(write_certificates([anchor]) for anchor in anchors),
        not_before=max(certificate.not_valid_before_utc for certificate in path),
        not_after=min(certificate.not_valid_after_utc for certificate in path),
        confined=tuple(write_certificates([anchor]) for anchor in confined),
        name_constraints=constraints,
        chain=tuple(fingerprint(certificate) for certificate in served),
    )


def _anchors(chain: list[x509.Certificate], ca_crt: bytes | None) -> list[x509.Certificate]:
    if ca_crt is not None and ca_crt.strip():
        found = read_certificates(ca_crt, "ca.crt", comments=True, most=MAX_CHAIN_BYTES)
        anchors = list(dict.fromkeys(found))
    elif paths.is_self_signed(chain[-1]):
        return [chain[-1]]
    else:
        raise AuthorityError(
            "AnchorMissing",
            "tls.crt does not end in a self-signed root, and there is no ca.crt; add ca.crt with "
            "the root certificate that verifiers trust.",
        )
    if not all(paths.is_self_signed(anchor) for anchor in anchors):
        raise AuthorityError(
            "AnchorNotSelfSigned",
            "ca.crt holds a certificate that is not self-signed, which many verifiers do not "
            "accept as a root; keep only roots in ca.crt and move intermediates to tls.crt.",
        )
    for anchor in anchors:
        paths.check_ca(anchor)
    check_constraints_agree(anchors)
    return anchors


def _key_of(certificate: x509.Certificate, tls_key: bytes) -> PrivateKey:
    if not tls_key.strip():
        raise KeyMaterialError(
            "PrivateKeyMissing",
            "The authority has no tls.key; add the private key of the first certificate in tls.crt "
            "(PEM).",
        )
    key = load_private_key(tls_key)
    if not same_key(certificate, key):
        raise KeyMaterialError(
            "PrivateKeyMismatch",
            "tls.key is not the key of the first certificate in tls.crt; put the issuing "
            "certificate first in tls.crt, and its private key in tls.key.",
        )
    return key


def _check_trust_domain_allowed(
    constraints: tuple[NameConstraints, ...], trust_domain: str
) -> None:
    if not all(each.allow_uri_host(trust_domain) for each in constraints):
        raise AuthorityError(
            "NameConstraintsForbidTrustDomain",
            f"The authority's name constraints forbid SPIFFE IDs of {trust_domain}; use an "
            "authority that permits the URI host of this trust domain.",
        )
