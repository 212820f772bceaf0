"""Makes untrusted text safe to print: a token's claims and the names in a manifest may hold control
sequences for a terminal, and people copy the output into tickets.
"""

import json
import re

# A match begins at the first eyJ of a word. Trying each later one would take quadratic time, and an
# attacker chooses the length of the text.
_TOKEN = re.compile(
    r"(?<![\w-])(?P<before>(?:(?!eyJ)[\w-])*+)eyJ[\w-]{8,}+(?:\.[\w-]*+){2,4}+", re.ASCII
)
_NOT_SHOWN = r"\g<before>(token redacted)"


def quoted(value: object) -> str:
    """Return a value as one line: text as it is, anything else as JSON, tokens redacted.

    Characters that are not printable are escaped, including those that change text direction.
    """
    clean = without_tokens(value)
    text = clean if isinstance(clean, str) else json.dumps(clean, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def without_tokens(value: object) -> object:
    """Return a JSON value with the tokens in its strings redacted."""
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
