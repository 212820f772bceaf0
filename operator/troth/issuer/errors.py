"""OAuth errors of the issuer."""

import re
from enum import StrEnum

_BEGINS = "eyJ"  # the start of every JSON object in base64
_TOKEN = re.compile(r"eyJ[\w-]{13,}[\w.=-]*", re.ASCII)


class Code(StrEnum):
    """OAuth error codes (RFC 6749, sections 5.2 and 4.1.2.1; RFC 8693, section 2.2.2)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


class OAuthError(Exception):
    """A rejected request for a token.

    `description` is a sentence for the person who fixes the caller. Of the request, it quotes only
    verified names, and no token. It contains only the characters that RFC 6749, section 5.2 allows:
    printable ASCII without quotation marks and backslashes.
    """

    def __init__(self, code: Code, description: str) -> None:
        description = without_tokens(description)
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


def without_tokens(text: str) -> str:
    """Return a text from the caller with its tokens removed.

    A token may be in the wrong field, and has the form of a scope.
    """
    return _TOKEN.sub("(a token)", text) if _BEGINS in text else text


def invalid_request(description: str) -> OAuthError:
    """Return the error of a malformed, incomplete or ambiguous request."""
    return OAuthError(Code.INVALID_REQUEST, description)


def unavailable(description: str) -> OAuthError:
    """Return the error of a request that the issuer cannot decide now; the caller may retry."""
    return OAuthError(Code.TEMPORARILY_UNAVAILABLE, description)
