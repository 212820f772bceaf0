"""Templates of signed texts, such as `{timestamp}.{body}`, restricted to unambiguous ones."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from troth.webhooks.schemes.delivery import Reason, RefusedError
from troth.webhooks.schemes.fields.identifiers import ends_once

TIMESTAMP, ID, METHOD, URL, BODY = "timestamp", "id", "method", "url", "body"

_FIELD = re.compile(r"\{([a-z]+)\}")
_FIELDS = frozenset({TIMESTAMP, ID, METHOD, URL, BODY})
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class SignedText:
    """Template: the text at its beginning, and the fields before the body, each with its following
    text.

    If two deliveries differ in a field or in the body, their signed texts differ too: no field can
    be read as a part of what follows it.
    """

    beginning: bytes
    fields: tuple[tuple[str, str], ...]

    def has(self, name: str) -> bool:
        """Return whether a field is signed."""
        return any(each == name for each, _ in self.fields)

    def of(self, values: Mapping[str, str], body: bytes) -> bytes:
        """Return the signed text; raises `RefusedError` for a value with an ambiguous end."""
        parts = [self.beginning]
        for name, after in self.fields:
            value = values[name]
            if name in _SENT and not (value.isascii() and ends_once(value, after)):
                raise RefusedError(
                    Reason.SIGNATURE_MALFORMED,
                    f"the end of the {name} is ambiguous in the signed text",
                )
            parts += (value.encode(), after.encode())
        parts.append(body)
        return b"".join(parts)


# The URL is configured and so constant, and a timestamp ends where its digits end.
_SENT = frozenset({ID, METHOD})


def parse_signed_text(template: str) -> SignedText:
    """Return the template of a text; raises `ValueError`, which says what to change."""
    # Some senders put each field on its own line; values of headers have no line breaks.
    printable = template.replace("\n", "").isprintable()
    if not (template.isascii() and printable and len(template) <= _LONGEST):
        raise ValueError(f"signed: write at most {_LONGEST} printable characters of ASCII")
    texts = _FIELD.split(template)
    literals, names = texts[::2], texts[1::2]
    if any("{" in each or "}" in each for each in literals) or not _FIELDS.issuperset(names):
        fields = ", ".join(f"{{{each}}}" for each in sorted(_FIELDS))
        raise ValueError(f"signed: write only these in braces: {fields}")
    if len(set(names)) != len(names):
        raise ValueError("signed: a field is repeated")
    if not names or names[-1] != BODY or literals[-1]:
        raise ValueError("signed: {body} is not at the end")
    for name, after in zip(names[:-1], literals[1:-1], strict=True):
        if not after:
            raise ValueError("signed: write text between two fields")
        if name == TIMESTAMP and after[0].isdigit():
            raise ValueError("signed: remove the digit after {timestamp}")
    return SignedText(literals[0].encode(), tuple(zip(names[:-1], literals[1:-1], strict=True)))
