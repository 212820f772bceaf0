"""The checks of `troth token verify` and their results, as sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from troth.cli.quoting import quoted
from troth.cli.status.track import length, since, until
from troth.cli.token.decode import Sort
from troth.cli.token.verification import NOBODY, Asked, Holder, Questioning, Setting, Verified, read
from troth.cli.token.warnings import moment
from troth.pki.errors import KeyMaterialError
from troth.pki.jwk import key_fingerprint
from troth.pki.token_checks import AccessToken, TokenError
from troth.pki.tokens import ALGORITHM

FORM, HOLDER = "malformed", "holder"
ORDER = (
    "algorithm",
    "type",
    "key",
    "signature",
    "issuer",
    "audience",
    "lifetime",
    "not-yet-valid",
    "expired",
)
"""The checks in order, by the second half of the problem code. `malformed` can fail anywhere."""


class Answer(StrEnum):
    """Result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNTOLD = "untold"
    """Not run, because an earlier check failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its result and a sentence that explains it."""

    name: str
    answer: Answer
    sentence: str = ""
    code: str = ""
    """The problem code if it failed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The results of all checks; `verified` is None unless all passed."""

    sort: Sort
    checks: tuple[Check, ...]
    verified: Verified | None

    @property
    def codes(self) -> tuple[str, ...]:
        """The problem codes of the failed checks."""
        return tuple(check.code for check in self.checks if check.code)


def judge(token: str, setting: Setting) -> Judgement:
    """Run all checks on a token."""
    asked = read(token, setting)
    found, verified = Questioning(asked, setting).run()
    checks = [*_answers(asked, found, setting, ended=verified is not None)]
    if setting.holder is not None and asked.sort is not Sort.TRANSACTION:
        held = verified if isinstance(verified, AccessToken) else None
        checks.append(_holder(held, setting.holder))
    refused = any(check.answer is not Answer.PASSED for check in checks)
    return Judgement(asked.sort, tuple(checks), None if refused else verified)


def _answers(
    asked: Asked, found: Mapping[str, TokenError], setting: Setting, *, ended: bool
) -> Iterator[Check]:
    """Yield the result of each check. The checks before a failed one have failed or passed."""
    reached = max((ORDER.index(check) for check in found if check in ORDER), default=0)
    for place, name in enumerate((*ORDER, FORM)):
        error = found.get(name)
        if error is not None:
            told = _told(name, asked, setting)
            sentence = f"{error} {told[0].upper()}{told[1:]}." if told else str(error)
            yield Check(name, Answer.FAILED, sentence, error.reason)
        elif ended or place < reached:
            yield Check(name, Answer.PASSED, _good(name, asked, setting))
        else:
            yield Check(name, Answer.UNTOLD)


def _good(name: str, asked: Asked, setting: Setting) -> str:
    """Return the value that a passed check has verified."""
    match name:
        case "algorithm":
            return ALGORITHM
        case "type":
            return quoted(asked.header.get("typ"))
        case "key":
            return f"{_fingerprint(asked.header.get('kid'))}, in the bundle of {asked.trust_domain}"
        case "signature":
            return "valid for that key"
        case "issuer":
            return quoted(asked.claims.get("iss"))
        case "audience":
            return quoted(setting.audience)
        case "malformed":
            return "complete and well-formed"
        case _:
            told = _time(name, asked.claims, setting.now)
            late = "expired" in told or "begins" in told
            return f"{told}, which is within the allowed clock skew" if late else told


def _told(name: str, asked: Asked, setting: Setting) -> str:
    """Return the value in the token that a failed check rejected; empty if it adds nothing."""
    claims, domain = asked.claims, asked.trust_domain
    match name:
        case "key":
            keys = sorted(map(_fingerprint, setting.bundles.get(domain, NOBODY).jwt_keys))
            there = ", ".join(keys) or "none"
            known = f"the keys of {domain} are {there}" if domain else "it names no trust domain"
            return f"it names the key {_fingerprint(asked.header.get('kid'))}; {known}"
        case "issuer":
            url = setting.issuers.get(domain)
            right = f"the issuer of {domain} is {url}" if url else f"no issuer of {domain} is known"
            return f"its issuer is {quoted(claims.get('iss'))}; {right}"
        case "audience":
            return f"its audience is {quoted(claims.get('aud'))}"
        case "lifetime" | "not-yet-valid" | "expired":
            return _time(name, claims, setting.now)
        case _:
            return ""


def _time(name: str, claims: Mapping[str, Any], now: datetime) -> str:
    expires, issued, begins = (moment(claims.get(each)) for each in ("exp", "iat", "nbf"))
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
                f"it expired {since(expires, now)}" if over else f"it expires {until(expires, now)}"
            )


def _fingerprint(kid: object) -> str:
    try:
        return key_fingerprint(kid) if isinstance(kid, str) else "none"
    except KeyMaterialError:
        return quoted(kid)


def _holder(held: AccessToken | None, holder: Holder) -> Check:
    """Check that the token is bound to the certificate (RFC 8705, section 3)."""
    if held is None:
        return Check(HOLDER, Answer.UNTOLD)
    if held.thumbprint is None:
        sentence = (
            "The access token is not bound to a certificate; callees that require that reject it."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-unbound")
    if held.subject != holder.spiffe_id:
        sentence = (
            f"The certificate is for {holder.spiffe_id}, but the access token for {held.subject}."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-holder")
    if held.thumbprint != holder.thumbprint:
        sentence = (
            "The access token is bound to another certificate of that identity. A token issued "
            "before a renewal is bound to the previous certificate."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-holder")
    return Check(HOLDER, Answer.PASSED, f"bound to this certificate of {holder.spiffe_id}")
