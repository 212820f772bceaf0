"""Requests to the issuer, and its answers.

Pure: a request is a URL and a form; an answer is a status, two headers and bytes. httpx, aiohttp or
requests send them. The protocols are OAuth 2.0 with client certificates (RFC 6749, section 4.4; RFC
8705), token exchange (RFC 8693) and draft-ietf-oauth-transaction-tokens. Answers are parsed
strictly: an ambiguous one yields no token.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlencode

from troth.pki.encodings import strict_json
from troth.pki.tokens.form import MAX_TOKEN
from troth.pki.tokens.signing import MAX_LIFETIME, parse_scopes

FORM = "application/x-www-form-urlencoded"
MAX_ANSWER = 64 * 1024
"""Maximum size of an answer in bytes; the libraries read no more."""

_TYPE = "urn:ietf:params:oauth:token-type:"
_ACCESS = f"{_TYPE}access_token"
_TRANSACTION = f"{_TYPE}txn_token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_WORD = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,512}")  # RFC 6749 section 5.2
_SECONDS = re.compile(r"[0-9]{1,9}")
_MOST_WAIT = 600.0
_REFUSALS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "invalid_target"),
        *("unauthorized_client", "unsupported_grant_type"),
    }
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the issuer: POST `body` to `url` with `headers`."""

    url: str
    audience: str
    issued_type: str
    form: Mapping[str, str] = field(repr=False)

    @property
    def body(self) -> bytes:
        """The encoded form. A parameter without a value is omitted (RFC 6749, section 3.2)."""
        return urlencode({name: value for name, value in self.form.items() if value}).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        return {
            "Content-Type": FORM,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The issuer's response; missing headers are empty."""

    status: int
    content_type: str = ""
    retry_after: str = ""
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> Self:
        """Return a client library's response; `headers` ignores case."""
        return cls(status, headers.get("Content-Type", ""), headers.get("Retry-After", ""), body)


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and its use. `lifetime` is in seconds from the time of the request."""

    token: str = field(repr=False)
    lifetime: float
    scopes: frozenset[str]


class ExchangeFailedError(Exception):
    """A request yielded no token.

    `code` is the issuer's error code (RFC 6749, section 5.2), or `unreachable`, `wrong-server`,
    `answer-status`, `answer-malformed`, or `account-token` if there was no ServiceAccount token.
    `final` means that the issuer understood and rejected the request; otherwise the issuer is
    unavailable or faulty. `retry_after` is the number of seconds that the issuer asked to wait.
    """

    def __init__(
        self, code: str, message: str, *, final: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.final = final
        self.retry_after = retry_after


# Requests


def access_by_certificate(issuer: str, audience: str) -> Ask:
    """Return a request for an access token as the identity of the connection's certificate.

    It has no `scope`: the issuer grants what both sides declare, which may already be less than the
    files of this workload list.
    """
    form = {"grant_type": "client_credentials", "audience": audience}
    return Ask(_endpoint(issuer), audience, _ACCESS, form)


def access_by_account(issuer: str, audience: str, account_token: str) -> Ask:
    """Return a request for an unbound access token with a ServiceAccount token for the issuer."""
    form = {
        "grant_type": _EXCHANGE,
        "audience": audience,
        "subject_token": account_token.strip(),
        "subject_token_type": f"{_TYPE}jwt",
    }
    return Ask(_endpoint(issuer), audience, _ACCESS, form)


def transaction_start(
    issuer: str,
    trust_domain: str,
    *,
    subject: str,
    scopes: Iterable[str],
    context: Mapping[str, str],
    request: Mapping[str, str],
) -> Ask:
    """Return a request for a transaction's first token, on behalf of an authenticated subject."""
    form = _transaction(trust_domain, scopes) | {
        "subject_token": _json({"sub": subject}),
        "subject_token_type": f"{_TYPE}unsigned_json",
        "request_details": _json(context) if context else "",
        "request_context": _json(request) if request else "",
    }
    return Ask(_endpoint(issuer), trust_domain, _TRANSACTION, form)


def transaction_narrowing(issuer: str, trust_domain: str, token: str, scopes: Iterable[str]) -> Ask:
    """Return a request to replace a transaction's token by one with fewer scopes."""
    form = _transaction(trust_domain, scopes) | {
        "subject_token": token,
        "subject_token_type": _TRANSACTION,
    }
    return Ask(_endpoint(issuer), trust_domain, _TRANSACTION, form)


def _transaction(trust_domain: str, scopes: Iterable[str]) -> dict[str, str]:
    scope = " ".join(sorted(set(scopes)))
    if not parse_scopes(scope):
        raise ValueError("a transaction needs at least one scope, which says what it is for")
    return {
        "grant_type": _EXCHANGE,
        "requested_token_type": _TRANSACTION,
        "audience": trust_domain,
        "scope": scope,
    }


def _endpoint(issuer: str) -> str:
    return f"{issuer.rstrip('/')}/token"


def _json(members: Mapping[str, str]) -> str:
    return json.dumps(dict(members), separators=(",", ":"))


def is_token(text: str) -> bool:
    """Return whether a text has the form of a signed token: three parts, and not too long."""
    return len(text) <= MAX_TOKEN and _TOKEN.fullmatch(text) is not None


# Answers


def read_answer(ask: Ask, answer: Answer, now: datetime) -> Issued:
    """Return the token in an answer; raises `ExchangeFailedError` for any other answer.

    The formats are from RFC 6749, sections 5.1 and 5.2, and RFC 8693, section 2.2. `now` is for a
    `Retry-After` with a date.
    """
    document = _document(answer)
    if answer.status != HTTPStatus.OK:
        raise _refusal(answer, document or {}, now)
    if document is None:
        raise _malformed("is not a valid, unambiguous JSON object")
    token, lifetime = document.get("access_token"), document.get("expires_in")
    scopes = parse_scopes(document.get("scope", ""))
    if not isinstance(token, str) or not is_token(token):
        raise _malformed("holds no signed token")
    if not _is_expected(ask, document):
        raise _malformed("holds a token of another type than requested")
    if type(lifetime) is not int or not 0 < lifetime <= MAX_LIFETIME.total_seconds():
        raise _malformed("gives the token an invalid lifetime")
    if scopes is None:
        raise _malformed("has invalid scopes")
    asked = parse_scopes(ask.form.get("scope", ""))
    if asked and not scopes <= asked:
        raise _malformed("grants scopes that were not requested")
    return Issued(token, float(lifetime), scopes)


def _is_expected(ask: Ask, document: Mapping[str, Any]) -> bool:
    # An exchange must name the type (RFC 8693 section 2.2.1); RFC 6749 does not know it.
    exchanged = ask.form["grant_type"] == _EXCHANGE
    issued = document.get("issued_token_type", None if exchanged else ask.issued_type)
    if issued != ask.issued_type:
        return False
    kind = document.get("token_type")
    if ask.issued_type == _TRANSACTION:
        return bool(kind == "N_A")
    # in any case (RFC 6749 section 5.1)
    return isinstance(kind, str) and kind.lower() == "bearer"


def _document(answer: Answer) -> dict[str, Any] | None:
    media_type = answer.content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" or len(answer.body) > MAX_ANSWER:
        return None
    try:
        document = strict_json.parse(answer.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _refusal(answer: Answer, document: Mapping[str, Any], now: datetime) -> ExchangeFailedError:
    code, description = document.get("error"), document.get("error_description", "")
    wait = retry_after(answer.retry_after, now)
    if not isinstance(code, str) or not _WORD.fullmatch(code):
        return ExchangeFailedError(
            "answer-status", f"it answered with status {answer.status}", retry_after=wait
        )
    is_plain = isinstance(description, str) and _WORD.fullmatch(description)
    final = code in _REFUSALS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    message = f"it answered {code}" + (f": {description}" if is_plain else "")
    return ExchangeFailedError(code, message, final=final, retry_after=wait)


def _malformed(what: str) -> ExchangeFailedError:
    return ExchangeFailedError("answer-malformed", f"its answer {what}")


def retry_after(value: str, now: datetime) -> float:
    """Return the seconds in a `Retry-After` (RFC 9110, section 10.2.3), at most 600.

    A missing or malformed value counts as 0.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), _MOST_WAIT)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:  # an HTTP date is in GMT, and does not use "-0000"
        until = until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), _MOST_WAIT)
