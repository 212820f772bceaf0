"""IDs that senders give to deliveries: logged, and if they are signed, used to detect replays."""

import re
from functools import cache

from pydantic_core import from_json

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

LONGEST = 256
_CLAIMED_WITHIN = 4 * 1024
"""Bytes of an unverified body in which an ID is looked for: events begin with theirs."""


def is_identifier(text: object) -> bool:
    """Return whether a value is a text of 1 to `LONGEST` printable characters."""
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()


def logged_id(delivery: Delivery, *names: bytes) -> str | None:
    """Return the value of the first of these headers that is present, for the log.

    None if it is repeated or not an identifier. It is not signed, so nothing depends on it.
    """
    for name in names:
        values = list(delivery.values(name))
        if values:
            text = values[0].decode("latin-1")
            return text if len(values) == 1 and text.isascii() and is_identifier(text) else None
    return None


def claimed_in_header(delivery: Delivery, *names: bytes) -> str | None:
    """Return the first value of the first of these headers that is present, whatever it is."""
    for name in names:
        for value in delivery.values(name):
            return value.decode("latin-1")
    return None


def claimed_in_body(body: bytes, member: str) -> str | None:
    """Return the first text in an unverified body that a member of this name may have.

    The body is not parsed, because anybody can make that expensive.
    """
    found = _member(member).search(body, 0, _CLAIMED_WITHIN)
    return found[1].decode("latin-1") if found else None


@cache
def _member(name: str) -> re.Pattern[bytes]:
    space, text = rb"[ \t\r\n]{0,8}", rb'"([^"\\]{1,%d})"' % LONGEST
    return re.compile(rb'"%b"%b:%b%b' % (name.encode(), space, space, text))


def signed_id(delivery: Delivery, name: bytes, until: str | None = None) -> str:
    """Return the ID in a header, which is signed with the text `until` after it.

    Raises `RefusedError`, also if `until` would begin inside the ID: the rest of the ID could
    then be read as a part of it.
    """
    text = delivery.header(name)
    if not is_identifier(text) or (until is not None and not ends_once(text, until)):
        raise RefusedError(
            Reason.SIGNATURE_MALFORMED,
            f"the header {name.decode()} is not an ID that can be signed",
        )
    return text


def ends_once(text: str, after: str) -> bool:
    """Return whether the end of a text that another one follows is unambiguous."""
    return (text + after).find(after) == len(text)


def body_id(body: bytes, member: str) -> str | None:
    """Return a member of a JSON object that is an identifier, None if there is none.

    Use it only for verified bodies: nothing else is parsed.
    """
    try:
        document = from_json(body)
    except ValueError:
        return None
    found = document.get(member) if isinstance(document, dict) else None
    return found if is_identifier(found) else None
