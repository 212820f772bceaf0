"""The time that a sender signs: seconds since the epoch, in one spelling, and not long ago."""

from troth.webhooks.schemes.delivery import Reason, RefusedError

_LONGEST = 11
"""Digits; the eleventh is needed from the year 2286 on."""


def parse_timestamp(text: str) -> int:
    """Return the seconds that a text says; raises `RefusedError`.

    ASCII digits alone, and no zero before them: no sign, fraction, exponent, underscore or space,
    for what signs them signs the text and not the number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST) or text[0] == "0":
        raise RefusedError(
            Reason.TIMESTAMP_MALFORMED, "the timestamp is not whole seconds since the epoch"
        )
    return int(text)


def check_time(timestamp: float, now: float, tolerance: float) -> None:
    """Raise `RefusedError` unless a time is at most `tolerance` seconds before or after now.

    Exactly `tolerance` away is near enough, to both sides.
    """
    if now - timestamp > tolerance:
        raise RefusedError(Reason.TIMESTAMP_TOO_OLD, "the timestamp is too old")
    if timestamp - now > tolerance:
        raise RefusedError(Reason.TIMESTAMP_TOO_NEW, "the timestamp is too far in the future")


def fresh(text: str, now: float, tolerance: float) -> int:
    """Return the seconds that a text says; raises `RefusedError` also where they are not near."""
    timestamp = parse_timestamp(text)
    check_time(timestamp, now, tolerance)
    return timestamp
