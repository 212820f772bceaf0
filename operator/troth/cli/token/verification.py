"""The strict verification of a token, asked again until every check has answered.

`pki.token_checks` ends at the first check that fails. A person who mends one thing at a time wants
to know all of them; so what failed is noted, and the same verification is asked once more with only
that put aside, where that can be. A token of which anything was noted is refused, whatever comes
after.
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
"""The bundle of a trust domain of which none is known: no key is in it."""

TIMES = frozenset({"not-yet-valid", "expired"})

Verified = AccessToken | TransactionToken


@dataclass(frozen=True, slots=True)
class Holder:
    """Who presents a token: the facts of a certificate. `thumbprint` is its `x5t#S256`."""

    spiffe_id: str
    thumbprint: str

    @classmethod
    def of(cls, pem: bytes) -> Self:
        """Return whose a `tls.crt` is; raises a `PKIError` where it is nobody's."""
        leaf = parse_leaf(pem)
        return cls(leaf.spiffe_id, base64url.encode(bytes.fromhex(leaf.fingerprint)))


@dataclass(frozen=True, slots=True)
class Setting:
    """What a token is verified against; bundles and issuers are by trust domain."""

    bundles: Mapping[str, SPIFFEBundle]
    issuers: Mapping[str, str]
    audience: str
    now: datetime
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A token, and what it says where it says anything."""

    token: str = field(repr=False)
    sort: Sort
    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    trust_domain: str
    """Whose key and issuer count: that of `sub`, or of a transaction token the own one."""


def read(token: str, setting: Setting) -> Asked:
    """Return what a token says; nothing where it cannot be read."""
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
    """Asks until an answer leaves nothing to ask."""

    def __init__(self, asked: Asked, setting: Setting) -> None:
        self.asked, self.setting = asked, setting
        self.found: dict[str, TokenError] = {}

    def run(self) -> tuple[dict[str, TokenError], Verified | None]:
        """Return what failed, by check, and the token where the last check was reached."""
        while True:
            try:
                return self.found, self._verify()
            except TokenError as error:
                check = error.reason.partition("-")[2]
                # where the clock was set to suit one of the times, the other has no say any more
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
        """Return what the token does not name: where no issuer is known, it is from none."""
        return "" if self.asked.claims.get("iss") else "nobody"

    def _put_aside(self, check: str) -> bool:
        """Take a token's own word for what failed, so that the rest is asked; False: it cannot."""
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
