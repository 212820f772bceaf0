"""What every check answers to a token, in sentences, for `troth token verify`."""

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
"""The checks in the order of asking, by the second half of a refusal's code. `malformed` is asked
all along."""


class Answer(StrEnum):
    """What a check answered."""

    PASSED = "passed"
    FAILED = "failed"
    UNTOLD = "untold"
    """Something failed before it, and left nothing to ask."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, what it answered, and the sentence to it."""

    name: str
    answer: Answer
    sentence: str = ""
    code: str = ""
    """The problem's code, where it failed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every check's answer; `verified` only where none failed."""

    sort: Sort
    checks: tuple[Check, ...]
    verified: Verified | None

    @property
    def codes(self) -> tuple[str, ...]:
        """The problem codes of what failed."""
        return tuple(check.code for check in self.checks if check.code)


def judge(token: str, setting: Setting) -> Judgement:
    """Return what every check answers to a token."""
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
    """Yield what each check answered. Before one that failed, all that did not have passed."""
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
    """Return what a check that passed has seen."""
    match name:
        case "algorithm":
            return ALGORITHM
        case "type":
            return quoted(asked.header.get("typ"))
        case "key":
            return f"{_fingerprint(asked.header.get('kid'))}, in the bundle of {asked.trust_domain}"
        case "signature":
            return "made with that key"
        case "issuer":
            return quoted(asked.claims.get("iss"))
        case "audience":
            return quoted(setting.audience)
        case "malformed":
            return "all is there that must be, and well formed"
        case _:
            told = _time(name, asked.claims, setting.now)
            late = "expired" in told or "begins" in told
            return f"{told}, which is within what clocks may differ by" if late else told


def _told(name: str, asked: Asked, setting: Setting) -> str:
    """Return what a token says where a check looks; nothing where that is little."""
    claims, domain = asked.claims, asked.trust_domain
    match name:
        case "key":
            keys = sorted(map(_fingerprint, setting.bundles.get(domain, NOBODY).jwt_keys))
            there = ", ".join(keys) or "none"
            known = f"those of {domain} are {there}" if domain else "it names no trust domain"
            return f"it names {_fingerprint(asked.header.get('kid'))}; {known}"
        case "issuer":
            url = setting.issuers.get(domain)
            right = f"that of {domain} is {url}" if url else f"none is known of {domain}"
            return f"it says {quoted(claims.get('iss'))}; {right}"
        case "audience":
            return f"it is for {quoted(claims.get('aud'))}"
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
            return f"it lasts {length(expires - issued)}"
        case "not-yet-valid":
            return (
                f"it begins {until(start, now)}" if start > now else f"it began {since(start, now)}"
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
    """Return whether whoever has the certificate is who may use the token (RFC 8705, section 3)."""
    if held is None:
        return Check(HOLDER, Answer.UNTOLD)
    if held.thumbprint is None:
        sentence = (
            "The access token is bound to no certificate; where that is required it is refused."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-unbound")
    if held.subject != holder.spiffe_id:
        sentence = (
            f"The certificate is of {holder.spiffe_id}, and the access token of {held.subject}."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-holder")
    if held.thumbprint != holder.thumbprint:
        sentence = (
            "The access token is bound to another certificate of that identity; a token that was "
            "got before a renewal goes with the certificate before it."
        )
        return Check(HOLDER, Answer.FAILED, sentence, "token-holder")
    return Check(HOLDER, Answer.PASSED, f"bound to this certificate, of {holder.spiffe_id}")
