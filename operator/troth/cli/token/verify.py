"""`troth token verify`: the verdicts of `troth.pki` on a token, explained in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from troth.cli.checks import Check, Outcome
from troth.cli.quoting import quoted
from troth.cli.status.track import length, since, until
from troth.cli.token.holder import Holder, check_holder
from troth.cli.token.warnings import moment
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.pki.errors import KeyMaterialError, SPIFFEIDError
from troth.pki.keys.jwk import key_fingerprint
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.checks import (
    CHECKS,
    AccessToken,
    TransactionToken,
    verify_access_token,
    verify_transaction_token,
)
from troth.pki.tokens.form import (
    ACCESS,
    TRANSACTION,
    Report,
    TokenKind,
    Verdict,
    kind_of,
    parse_token,
    report,
)
from troth.pki.tokens.signing import ALGORITHM

_NO_KEYS = SPIFFEBundle("", (), {})
"""The bundle of an unknown trust domain."""

Verified = AccessToken | TransactionToken


@dataclass(frozen=True, slots=True)
class Setting:
    """The expected values for a token; bundles and issuers are by trust domain."""

    bundles: Mapping[str, SPIFFEBundle]
    issuers: Mapping[str, str]
    audience: str
    now: datetime
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The results of all checks; `verified` is None unless all passed."""

    kind: TokenKind
    checks: tuple[Check, ...]
    verified: Verified | None

    @property
    def codes(self) -> tuple[str, ...]:
        """The problem codes of the failed checks."""
        return tuple(check.code for check in self.checks if check.code)


def judge(token: str, setting: Setting) -> Judgement:
    """Verify a token and explain each verdict."""
    kind = kind_of(token)
    verified, verdicts = _verified(token, kind, setting)
    checks = [*_Explanations.of(token, kind, setting).checks(verdicts)]
    if setting.holder is not None and kind is ACCESS:
        held = verified if isinstance(verified, AccessToken) else None
        checks.append(check_holder(held, setting.holder))
    rejected = any(check.outcome is not Outcome.PASSED for check in checks)
    return Judgement(kind, tuple(checks), None if rejected else verified)


def _verified(
    token: str, kind: TokenKind, setting: Setting
) -> tuple[Verified | None, tuple[Verdict, ...]]:
    bundles, issuers, own = setting.bundles, setting.issuers, setting.audience
    now = setting.now.timestamp()
    made: Report[AccessToken] | Report[TransactionToken]
    if kind is TRANSACTION:
        bundle, issuer = bundles.get(own, _NO_KEYS), issuers.get(own, "")
        made = report(
            partial(verify_transaction_token, token, bundle=bundle, issuer=issuer, now=now), kind
        )
    else:
        made = report(
            partial(
                verify_access_token,
                token,
                bundles=bundles,
                issuers=issuers,
                audience=own,
                now=now,
            ),
            kind,
        )
    return made.verified, made.verdicts


@dataclass(frozen=True, slots=True)
class _Explanations:
    """What a token contains, unverified, beside the expected values; empty if it is malformed."""

    setting: Setting
    trust_domain: str
    """The trust domain whose keys count: that of `sub`; for a transaction token the audience."""
    kind: TokenKind
    kid: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, token: str, kind: TokenKind, setting: Setting) -> "_Explanations":
        opened = report(partial(parse_token, token), kind).verified
        if opened is None:
            return cls(setting, "", kind)
        own = kind is TRANSACTION
        domain = setting.audience if own else _trust_domain(opened.claims.get("sub"))
        return cls(setting, domain, kind, opened.kid, opened.claims)

    def checks(self, verdicts: tuple[Verdict, ...]) -> Iterator[Check]:
        """Yield the result of each check."""
        errors = {verdict.check: verdict.error for verdict in verdicts}
        for name in CHECKS:
            error = errors.get(name)
            if error is not None:
                found = self._found(name)
                sentence = f"{error} {found[0].upper()}{found[1:]}." if found else str(error)
                yield Check(name, Outcome.FAILED, sentence, error.reason)
            elif name in errors:
                yield Check(name, Outcome.PASSED, self._confirmed(name))
            else:
                yield Check(name, Outcome.NOT_RUN)

    def _confirmed(self, name: str) -> str:
        """Return the value that a passed check has verified."""
        match name:
            case "algorithm":
                return ALGORITHM
            case "type":
                return self.kind.typ
            case "key":
                return f"{_fingerprint(self.kid)}, in the bundle of {self.trust_domain}"
            case "signature":
                return "valid for that key"
            case "issuer":
                return quoted(self.claims.get("iss"))
            case "audience":
                return quoted(self.setting.audience)
            case "malformed":
                return "complete and well-formed"
            case _:
                time = self._time(name)
                late = "expired" in time or "begins" in time
                return f"{time}, which is within the allowed clock skew" if late else time

    def _found(self, name: str) -> str:
        """Return the value that a failed check rejected; empty if it adds nothing."""
        domain = self.trust_domain
        match name:
            case "key":
                keys = sorted(
                    map(_fingerprint, self.setting.bundles.get(domain, _NO_KEYS).jwt_keys)
                )
                there = ", ".join(keys) or "none"
                known = (
                    f"the keys of {domain} are {there}" if domain else "it names no trust domain"
                )
                return f"it names the key {_fingerprint(self.kid)}; {known}"
            case "issuer":
                url = self.setting.issuers.get(domain)
                right = (
                    f"the issuer of {domain} is {url}" if url else f"no issuer of {domain} is known"
                )
                return f"its issuer is {quoted(self.claims.get('iss'))}; {right}"
            case "audience":
                return f"its audience is {quoted(self.claims.get('aud'))}"
            case "lifetime" | "not-yet-valid" | "expired":
                return self._time(name)
            case _:
                return ""

    def _time(self, name: str) -> str:
        now = self.setting.now
        expires, issued, begins = (moment(self.claims.get(each)) for each in ("exp", "iat", "nbf"))
        if expires is None or issued is None:
            return ""
        start = max(issued, begins or issued)
        match name:
            case "lifetime":
                return f"its lifetime is {length(expires - issued)}"
            case "not-yet-valid":
                return (
                    f"its validity begins {until(start, now)}"
                    if start > now
                    else f"its validity began {since(start, now)}"
                )
            case _:
                over = expires <= now
                return (
                    f"it expired {since(expires, now)}"
                    if over
                    else f"it expires {until(expires, now)}"
                )


def _trust_domain(subject: object) -> str:
    try:
        return SPIFFEID.parse(subject).trust_domain if isinstance(subject, str) else ""
    except SPIFFEIDError:
        return ""


def _fingerprint(kid: str) -> str:
    try:
        return key_fingerprint(kid)
    except KeyMaterialError:
        return quoted(kid)
