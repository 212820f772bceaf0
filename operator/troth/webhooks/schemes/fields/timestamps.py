"""Signed timestamps: seconds since the epoch in canonical form, and their freshness."""

from troth.webhooks.schemes.delivery import Reason, RefusedError

_LONGEST = 11
"""Maximum number of digits; the eleventh is needed from the year 2286 on."""


def parse_timestamp(text: str) -> int:
    """Return the seconds of a timestamp; raises `RefusedError`.

    Only ASCII digits without leading zeros are valid: no sign, fraction, exponent, underscore or
    space. The signature covers the text, so each number must have exactly one.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST) or text[0] == "0":
        raise RefusedError(
            Reason.TIMESTAMP_MALFORMED, "the timestamp is not whole seconds since the epoch"
        )
    return int(text)


def check_time(timestamp: float, now: float, tolerance: float) -> None:
    """Raise `RefusedError` unless a time is at most `tolerance` seconds before or after now.

    A difference of exactly `tolerance` is accepted in both directions.
    """
    if now - timestamp > tolerance:
        raise RefusedError(Reason.TIMESTAMP_TOO_OLD, "the timestamp is too old")
    if timestamp - now > tolerance:
        raise RefusedError(Reason.TIMESTAMP_TOO_NEW, "the timestamp is too far in the future")


def fresh(text: str, now: float, tolerance: float) -> int:
    """Return the seconds of a timestamp; raises `RefusedError` if it is invalid or not fresh."""
    timestamp = parse_timestamp(text)
    check_time(timestamp, now, tolerance)
    return timestamp
