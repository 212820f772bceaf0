"""Checks that a token is bound to the certificate of its presenter (RFC 8705, section 3)."""

from dataclasses import dataclass
from typing import Self

from troth.cli.checks import Check, Outcome
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings import base64url
from troth.pki.tokens.checks import AccessToken, holder_problem

HOLDER = "holder"
"""The name of the check."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The presenter of a token, from a certificate. `thumbprint` is its `x5t#S256`."""

    spiffe_id: str
    thumbprint: str

    @classmethod
    def of(cls, pem: bytes) -> Self:
        """Return the holder of a `tls.crt`; raises `PKIError` if it is not an SVID."""
        leaf = parse_leaf(pem)
        return cls(leaf.spiffe_id, base64url.encode(bytes.fromhex(leaf.fingerprint)))


def check_holder(token: AccessToken | None, holder: Holder) -> Check:
    """Check that a verified token, None if it was rejected, is bound to the certificate."""
    if token is None:
        return Check(HOLDER, Outcome.NOT_RUN)
    code = holder_problem(token, holder.spiffe_id, holder.thumbprint, must_be_bound=True)
    if code is None:
        return Check(HOLDER, Outcome.PASSED, f"bound to this certificate of {holder.spiffe_id}")
    if token.subject != holder.spiffe_id:
        sentence = (
            f"The certificate is for {holder.spiffe_id}, but the access token for {token.subject}."
        )
    elif token.thumbprint is None:
        sentence = (
            "The access token is not bound to a certificate; callees that require that reject it."
        )
    else:
        sentence = (
            "The access token is bound to another certificate of that identity. A token issued "
            "before a renewal is bound to the previous certificate."
        )
    return Check(HOLDER, Outcome.FAILED, sentence, code)
