"""The body of a request for a token: `application/x-www-form-urlencoded`, read in one way only.

Two readers that disagree about a form are how checks are walked around, so what could be read in
two ways is refused: a parameter given twice, a pair without `=`, a `%` without two digits.
"""

import re
from urllib.parse import unquote_to_bytes

from troth.issuer.errors import invalid_request

MEDIA_TYPE = "application/x-www-form-urlencoded"
LONGEST = 32 * 1024
"""Bytes of a body: two tokens at their largest, and what is said beside them."""
MOST = 32
"""Pairs of a form; no request has half as many."""

_PLAIN = re.compile(rb"(?:[!-$&-~]++|%[0-9A-Fa-f]{2})*+")  # printable ASCII, `%` with its digits
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # JSON may hold tabs and lines


def check_media_type(content_type: str | None) -> None:
    """Raise `invalid_request` unless a `Content-Type` says that a form follows, in UTF-8."""
    if content_type == MEDIA_TYPE:
        return
    media_type, _, parameters = (content_type or "").lower().partition(";")
    if media_type.strip() != MEDIA_TYPE or parameters.strip() not in ("", "charset=utf-8"):
        raise invalid_request(f"send a form: Content-Type {MEDIA_TYPE}, in UTF-8")


def parse_form(body: bytes) -> dict[str, str]:
    """Return the parameters of a form; one without a value counts as left out (RFC 6749 3.2).

    Raises `invalid_request` for anything that is no form, and for a parameter given twice.
    """
    if len(body) > LONGEST or not _PLAIN.fullmatch(body):
        raise invalid_request("the body is not a form, or is too long")
    pairs = body.split(b"&") if body else []
    if len(pairs) > MOST:
        raise invalid_request(f"the form has more than {MOST} parameters")
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition(b"=")
        if not name or not equals:
            raise invalid_request("write each parameter of the form as name=value")
        key = _decoded(name)
        if key in parameters:
            raise invalid_request("the form has a parameter more than once")
        parameters[key] = _decoded(value)
    return {name: value for name, value in parameters.items() if value}


def _decoded(part: bytes) -> str:
    if b"%" not in part and b"+" not in part:
        return part.decode("ascii")  # as most parts are, and printable it is
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise invalid_request("the form is not UTF-8") from None
    if _CONTROL.search(text):
        raise invalid_request("the form contains control characters")
    return text
