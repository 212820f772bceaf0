"""Parses `application/x-www-form-urlencoded` bodies strictly.

Attackers bypass checks when two parsers read a form differently. So ambiguous input is rejected: a
repeated parameter, a pair without `=`, a `%` without two digits.
"""

import re
from urllib.parse import unquote_to_bytes

from troth.issuer.errors import invalid_request

MEDIA_TYPE = "application/x-www-form-urlencoded"
LONGEST = 32 * 1024
"""Maximum size of a body in bytes: two tokens of maximum size and other parameters."""
MOST = 32
"""Maximum number of pairs; no valid request has half as many."""

_PLAIN = re.compile(rb"(?:[!-$&-~]++|%[0-9A-Fa-f]{2})*+")  # printable ASCII, % with 2 digits
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # JSON may hold tabs and lines


def check_media_type(content_type: str | None) -> None:
    """Raise `invalid_request` unless a `Content-Type` announces a form in UTF-8."""
    if content_type == MEDIA_TYPE:
        return
    media_type, _, parameters = (content_type or "").lower().partition(";")
    if media_type.strip() != MEDIA_TYPE or parameters.strip() not in ("", "charset=utf-8"):
        raise invalid_request(f"send a form: Content-Type {MEDIA_TYPE}, in UTF-8")


def parse_form(body: bytes) -> dict[str, str]:
    """Return the parameters of a form; an empty one counts as omitted (RFC 6749, section 3.2).

    Raises `invalid_request` for a malformed form and for a repeated parameter.
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
        return part.decode(
            "ascii"
        )  # covers most parts; the pattern above has checked that they are printable
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise invalid_request("the form is not UTF-8") from None
    if _CONTROL.search(text):
        raise invalid_request("the form contains control characters")
    return text
