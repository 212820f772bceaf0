"""Runs the strict verification of a token repeatedly, until every check has a result.

`pki.token_checks` stops at the first failed check, but a person wants to see all of them. So each
failure is recorded, and the verification runs again with only that check relaxed if possible. A
token with any recorded failure is rejected, whatever the later runs return.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from troth.cli.token.decode import Anatomy, NotAToken, Sort, take_apart
from troth.cli.token.warnings import moment
from troth.pki import base64url
from troth.pki.certificates import parse_leaf
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.pki.spiffe_bundle import SPIFFEBundle
from troth.pki.token_checks import (
    AccessToken,
    TokenError,
    TransactionToken,
    verify_access_token,
    verify_transaction_token,
)

NOBODY = SPIFFEBundle("", (), {})
"""The empty bundle of an unknown trust domain."""

TIMES = frozenset({"not-yet-valid", "expired"})

Verified = AccessToken | TransactionToken


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


@dataclass(frozen=True, slots=True)
class Setting:
    """The expected values for a token; bundles and issuers are by trust domain."""

    bundles: Mapping[str, SPIFFEBundle]
    issuers: Mapping[str, str]
    audience: str
    now: datetime
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A token with its unverified header and claims, which may be empty."""

    token: str = field(repr=False)
    sort: Sort
    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    trust_domain: str
    """The trust domain to verify with: that of `sub`; for a transaction token the audience."""


def read(token: str, setting: Setting) -> Asked:
    """Decode a token; header and claims are empty if it cannot be decoded."""
    try:
        anatomy = take_apart(token)
    except NotAToken:
        anatomy = Anatomy({}, {}, len(token), None)
    sort = Sort.TRANSACTION if anatomy.sort is Sort.TRANSACTION else Sort.ACCESS
    own = sort is Sort.TRANSACTION
    domain = setting.audience if own else _trust_domain(anatomy.claims.get("sub"))
    return Asked(token, sort, anatomy.header, anatomy.claims, domain)


def _trust_domain(subject: object) -> str:
    try:
        return SPIFFEID.parse(subject).trust_domain if isinstance(subject, str) else ""
    except SPIFFEIDError:
        return ""


class Questioning:
    """Verifies a token repeatedly until no failed check can be relaxed."""

    def __init__(self, asked: Asked, setting: Setting) -> None:
        self.asked, self.setting = asked, setting
        self.found: dict[str, TokenError] = {}

    def run(self) -> tuple[dict[str, TokenError], Verified | None]:
        """Return the failures by check, and the token if a run reached the last check."""
        while True:
            try:
                return self.found, self._verify()
            except TokenError as error:
                check = error.reason.partition("-")[2]
                # the clock was set to satisfy one of the times, so the other tells nothing
                again = check in self.found or (check in TIMES and self.found.keys() & TIMES)
                if again:
                    return self.found, None
                self.found[check] = error
                if not self._put_aside(check):
                    return self.found, None

    def _verify(self) -> Verified:
        setting, domain = self.setting, self.asked.trust_domain
        now = setting.now.timestamp()
        if self.asked.sort is Sort.TRANSACTION:
            return verify_transaction_token(
                self.asked.token,
                bundle=setting.bundles.get(domain, NOBODY),
                issuer=setting.issuers.get(domain, self._no_issuer()),
                now=now,
            )
        return verify_access_token(
            self.asked.token,
            bundles=setting.bundles,
            issuers=setting.issuers,
            audience=setting.audience,
            now=now,
        )

    def _no_issuer(self) -> str:
        """Return a value other than the token's `iss`, for a domain without a known issuer."""
        return "" if self.asked.claims.get("iss") else "nobody"

    def _put_aside(self, check: str) -> bool:
        """Relax a failed check with the token's own value; return whether that is possible."""
        claims = self.asked.claims
        match check, claims:
            case "issuer", {"iss": str(issuer)}:
                self.setting = replace(
                    self.setting,
                    issuers={**self.setting.issuers, self.asked.trust_domain: issuer},
                )
            case "audience", {"aud": str(audience) | [str(audience)]} if (
                self.asked.sort is not Sort.TRANSACTION
            ):
                self.setting = replace(self.setting, audience=audience)
            case (("expired" | "not-yet-valid"), _):
                begins = filter(None, (moment(claims.get(name)) for name in ("iat", "nbf")))
                self.setting = replace(self.setting, now=max(begins))
            case _:
                return False
        return True
