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
# Commands for a runner of GitHub Actions, which executes them in all that a step prints: one form
# anywhere in a line, the other at its beginning, and reports wrap lines. No IPv6 address is a word.
COMMAND = "##["
_COMMAND_WORD = re.compile(r"(?<!\S)::(?=[a-f-]*[g-z])", re.IGNORECASE)
_NOT_SHOWN = r"\g<before>(token redacted)"


def quoted(value: object) -> str:
    """Return a value as one line: text as it is, anything else as JSON, tokens redacted.

    Characters that are not printable are escaped, including those that change text direction, and
    what runners of GitHub Actions read as a command.
    """
    clean = without_tokens(value)
    text = clean if isinstance(clean, str) else json.dumps(clean, ensure_ascii=False)
    text = _COMMAND_WORD.sub(r"\\x3a:", text.replace(COMMAND, r"##\x5b"))
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
