"""Parses the parameters of a form into one of three kinds of request.

RFC 6749, section 4.4; RFC 8693, section 2.1; RFC 8707, section 2; and the draft for transaction
tokens (draft-ietf-oauth-transaction-tokens). Unknown parameters are ignored (RFC 6749, section
3.2). Known parameters that would change the meaning of the request are rejected.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from troth.issuer.errors import Code, OAuthError, invalid_request
from troth.pki.encodings import strict_json
from troth.pki.tokens.form import MAX_TOKEN
from troth.pki.tokens.signing import MAX_TEXT, is_text, parse_scopes

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
_TYPE = "urn:ietf:params:oauth:token-type:"
JWT_TYPE = f"{_TYPE}jwt"
ACCESS_TYPE = f"{_TYPE}access_token"
TRANSACTION_TYPE = f"{_TYPE}txn_token"
UNSIGNED_TYPE = f"{_TYPE}unsigned_json"

TENANT = "tenant"
"""Name in a transaction's context that every workload that starts transactions may set."""

_NOT_TAKEN = {
    "client_secret": "callers authenticate with certificates, not with secrets",
    "client_assertion": "callers authenticate with certificates, not with assertions",
    "actor_token": "the caller itself is the actor; remove actor_token",
    "refresh_token": "there are no refresh tokens; request another token",
}


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request for an access token for one audience; `scopes` is None to request all.

    `account_token` is the Kubernetes ServiceAccount token that proves the caller's identity, None
    if only its certificate does. `issued_type` is the token type of the answer (RFC 8693).
    """

    audience: str
    scopes: frozenset[str] | None
    account_token: str | None = field(default=None, repr=False)
    issued_type: str = ACCESS_TYPE


@dataclass(frozen=True, slots=True)
class TransactionStart:
    """A request for the first token of a transaction."""

    audience: str
    scopes: frozenset[str]
    subject: str = field(repr=False)
    context: Mapping[str, str] = field(repr=False)
    request: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransactionReplacement:
    """A request to replace a transaction token by one with fewer scopes."""

    audience: str
    scopes: frozenset[str]
    token: str = field(repr=False)


Request = AccessRequest | TransactionStart | TransactionReplacement


def read_request(parameters: Mapping[str, str]) -> Request:
    """Return the request in the parameters of a form; raises `OAuthError`."""
    for name, sentence in _NOT_TAKEN.items():
        if name in parameters:
            raise invalid_request(sentence)
    match parameters.get("grant_type"):
        case "client_credentials":
            return AccessRequest(_target(parameters), _scopes(parameters))
        case "urn:ietf:params:oauth:grant-type:token-exchange":
            if parameters.get("requested_token_type") == TRANSACTION_TYPE:
                return _transaction(parameters)
            return _exchange(parameters)
        case None:
            raise invalid_request("grant_type is missing")
        case _:
            raise OAuthError(
                Code.UNSUPPORTED_GRANT_TYPE,
                f"grant_type must be {CLIENT_CREDENTIALS} or {TOKEN_EXCHANGE}",
            )


def _exchange(parameters: Mapping[str, str]) -> AccessRequest:
    issued_type = parameters.get("requested_token_type", ACCESS_TYPE)
    if issued_type not in (ACCESS_TYPE, JWT_TYPE):
        raise invalid_request("requested_token_type is not one that this issuer issues")
    if _needed(parameters, "subject_token_type") != JWT_TYPE:
        raise invalid_request(
            f"for an access token, subject_token_type must be {JWT_TYPE}: a ServiceAccount token"
        )
    token = _needed(parameters, "subject_token")
    _check_length(token)
    return AccessRequest(_target(parameters), _scopes(parameters), token, issued_type)


def _transaction(parameters: Mapping[str, str]) -> TransactionStart | TransactionReplacement:
    audience, scopes = _target(parameters), _scopes(parameters)
    if scopes is None:
        raise invalid_request("a transaction token needs a scope that says what it is for")
    token, type_ = (_needed(parameters, name) for name in ("subject_token", "subject_token_type"))
    _check_length(token)
    match type_:
        case "urn:ietf:params:oauth:token-type:unsigned_json":
            return TransactionStart(
                audience,
                scopes,
                _subject(token),
                _words(parameters, "request_details"),
                _requester(parameters),
            )
        case "urn:ietf:params:oauth:token-type:txn_token":
            if "request_details" in parameters or "request_context" in parameters:
                raise invalid_request(
                    "a replacement keeps the request details and context of its transaction token; "
                    "remove them"
                )
            return TransactionReplacement(audience, scopes, token)
        case _:
            raise invalid_request(
                f"for a transaction token, subject_token_type must be {UNSIGNED_TYPE} or "
                f"{TRANSACTION_TYPE}"
            )


# Parts of a request


def _needed(parameters: Mapping[str, str], name: str) -> str:
    if name not in parameters:
        raise invalid_request(f"{name} is missing")
    return parameters[name]


def _target(parameters: Mapping[str, str]) -> str:
    """Return the only audience. `audience` and `resource` mean the same (RFC 8693, section 2.1)."""
    named = [parameters[name] for name in ("audience", "resource") if name in parameters]
    if len(named) != 1:
        raise OAuthError(Code.INVALID_TARGET, "name exactly one audience, or one resource")
    return named[0]


def _scopes(parameters: Mapping[str, str]) -> frozenset[str] | None:
    if "scope" not in parameters:
        return None
    scopes = parse_scopes(parameters["scope"])
    if scopes is None:
        raise OAuthError(
            Code.INVALID_SCOPE, "scope must be a list of names separated by single spaces"
        )
    return scopes


def _check_length(token: str) -> None:
    if len(token) > MAX_TOKEN:
        raise invalid_request(f"subject_token is longer than {MAX_TOKEN} characters")


def _subject(token: str) -> str:
    """Return the subject that the workload has authenticated; other members are ignored."""
    return _word(_object(token, "subject_token").get("sub"), "sub")


def _words(parameters: Mapping[str, str], parameter: str) -> dict[str, str]:
    """Return a JSON object of names and short texts, empty if the parameter is omitted."""
    if parameter not in parameters:
        return {}
    members = _object(parameters[parameter], parameter)
    return {_word(name, "a name"): _word(value, parameter) for name, value in members.items()}


def _requester(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the request's environment: the two members that the draft defines."""
    members = _words(parameters, "request_context")
    if not members.keys() <= {"req_ip", "authn"}:
        raise invalid_request("request_context may hold only req_ip and authn")
    try:
        ipaddress.ip_address(members.get("req_ip", "::"))
    except ValueError:
        raise invalid_request("req_ip in request_context is not an IP address") from None
    return members


def _word(value: object, what: str) -> str:
    if not is_text(value):
        raise invalid_request(f"{what} must be 1 to {MAX_TEXT} printable characters")
    return str(value)


def _object(text: str, parameter: str) -> dict[str, Any]:
    """Return an unambiguous JSON object; raises `invalid_request`."""
    try:
        found = strict_json.parse(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise invalid_request(f"{parameter} must be a JSON object without duplicate members")
    return found
