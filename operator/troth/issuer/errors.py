"""Why the issuer gives no token, in OAuth's words."""

import re
from enum import StrEnum

_BEGINS = "eyJ"  # as every JSON object does in base64
_TOKEN = re.compile(r"eyJ[\w-]{13,}[\w.=-]*", re.ASCII)


class Code(StrEnum):
    """Why a request fails: RFC 6749 sections 5.2 and 4.1.2.1, RFC 8693 section 2.2.2."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


class OAuthError(Exception):
    """A request that gets no token.

    `description` is a sentence for the person who mends the caller. It quotes nothing of the
    request but names that were checked, and of those no token. It holds only what RFC 6749 section
    5.2 allows: printable ASCII without quotation marks and backslashes.
    """

    def __init__(self, code: Code, description: str) -> None:
        description = without_tokens(description)
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


def without_tokens(text: str) -> str:
    """Return what somebody wrote as others may read it: a token may have got into the wrong field,
    and has the form of a scope.
    """
    return _TOKEN.sub("(a token)", text) if _BEGINS in text else text


def invalid_request(description: str) -> OAuthError:
    """A request that is malformed, or lacks something, or says something twice."""
    return OAuthError(Code.INVALID_REQUEST, description)


def unavailable(description: str) -> OAuthError:
    """A request that may be well, asked of an issuer that cannot tell now; try again soon."""
    return OAuthError(Code.TEMPORARILY_UNAVAILABLE, description)
