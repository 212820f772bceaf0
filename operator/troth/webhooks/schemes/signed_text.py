"""What a described HMAC is of: a template such as `{timestamp}.{body}`, read in one way only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from troth.webhooks.schemes.delivery import Reason, RefusedError
from troth.webhooks.schemes.identifiers import ends_once

TIMESTAMP, ID, METHOD, URL, BODY = "timestamp", "id", "method", "url", "body"

_FIELD = re.compile(r"\{([a-z]+)\}")
_FIELDS = frozenset({TIMESTAMP, ID, METHOD, URL, BODY})
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class SignedText:
    """The fields before the body, each with the text after it, and the text that begins it all.

    Two deliveries that differ in a field or in the body differ in what is signed: no field can be
    read on into what follows it.
    """

    beginning: bytes
    fields: tuple[tuple[str, str], ...]

    def has(self, name: str) -> bool:
        """Whether a field is signed."""
        return any(each == name for each, _ in self.fields)

    def of(self, values: Mapping[str, str], body: bytes) -> bytes:
        """Return what is signed; raises `RefusedError` for a value that could end elsewhere."""
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


# The URL is the configuration's and the same each time; a timestamp ends where its digits do.
_SENT = frozenset({ID, METHOD})


def parse_signed_text(template: str) -> SignedText:
    """Return what a template says is signed; raises `ValueError`, which says what to mend."""
    # Some senders put each field on a line of its own; a header's value has no line break in it.
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
