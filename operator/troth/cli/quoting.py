"""What came from outside, as text that may be printed: a token's claims are whatever its maker
likes, also what makes a terminal do something, and what is printed is copied into tickets.
"""

import json
import re

# It begins at the first eyJ of a word. To look from each one on would take time by the square of a
# text's length, and its length is its maker's choice.
_TOKEN = re.compile(
    r"(?<![\w-])(?P<before>(?:(?!eyJ)[\w-])*+)eyJ[\w-]{8,}+(?:\.[\w-]*+){2,4}+", re.ASCII
)
_NOT_SHOWN = r"\g<before>(a token, not shown)"


def quoted(value: object) -> str:
    """Return a value in a line: a text as it is, anything else as JSON.

    What is not printable is escaped, also what only turns the direction of writing.
    """
    clean = without_tokens(value)
    text = clean if isinstance(clean, str) else json.dumps(clean, ensure_ascii=False)
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def without_tokens(value: object) -> object:
    """Return a JSON value in which no text holds a token."""
    match value:
        case str():
            return _TOKEN.sub(_NOT_SHOWN, value)
        case dict():
            return {str(without_tokens(name)): without_tokens(each) for name, each in value.items()}
        case list():
            return [without_tokens(each) for each in value]
        case _:
            return value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
