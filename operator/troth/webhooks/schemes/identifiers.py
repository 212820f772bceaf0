"""What a sender calls a delivery: for the log, and where it is signed to know it again."""

from pydantic_core import from_json

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

LONGEST = 256


def is_identifier(text: object) -> bool:
    """Whether a text is 1 to `LONGEST` printable characters."""
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()


def logged_id(delivery: Delivery, *names: bytes) -> str | None:
    """Return the value of the first of these headers that is there, for the log.

    None where it is there twice or is no identifier: it is not signed, so nothing rests on it.
    """
    for name in names:
        values = list(delivery.values(name))
        if values:
            text = values[0].decode("latin-1")
            return text if len(values) == 1 and text.isascii() and is_identifier(text) else None
    return None


def signed_id(delivery: Delivery, name: bytes, until: str | None = None) -> str:
    """Return the id that a header has, which is signed with the text `until` after it.

    Raises `RefusedError` also for one that could end elsewhere: what follows it in what is signed
    could then be taken for a part of it.
    """
    text = delivery.header(name)
    if not is_identifier(text) or (until is not None and not ends_once(text, until)):
        raise RefusedError(
            Reason.SIGNATURE_MALFORMED,
            f"the header {name.decode()} is not an ID that can be signed",
        )
    return text


def ends_once(text: str, after: str) -> bool:
    """Whether a text that is followed by another ends there for every reader, and not before."""
    return (text + after).find(after) == len(text)


def body_id(body: bytes, member: str) -> str | None:
    """Return a member of a JSON object that is an identifier, None where the body has none.

    For bodies that are verified: nothing is parsed before.
    """
    try:
        document = from_json(body)
    except ValueError:
        return None
    found = document.get(member) if isinstance(document, dict) else None
    return found if is_identifier(found) else None
