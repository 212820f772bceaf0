"""Whether a 401 says that the access token is invalid (RFC 9110, 11.6.1; RFC 6750, 3.1)."""

import re
from collections.abc import Iterable

_PART = re.compile(
    r"""[ \t]*(?:
        ,
      | (?P<name>{word})[ \t]*=[ \t]*(?P<value>{word}|"(?:[^"\\]|\\.)*")(?={end})
      | (?P<scheme>{word})(?:[ ]+[\w.~+/-]+=*(?={end}))?(?=[ \t]|,|$)
    )""".format(word=r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", end=r"[ \t]*(?:,|$)"),
    re.ASCII | re.VERBOSE,
)
_LONGEST = 4096


def is_invalid_token(challenges: Iterable[str]) -> bool:
    """Return whether any `WWW-Authenticate` has a `Bearer` challenge with `error="invalid_token"`.

    A malformed challenge counts as none: the 401 is then returned to the program.
    """
    return any(_is_invalid_token(each) for each in challenges)


def _is_invalid_token(header: str) -> bool:
    header = header.strip(" \t")
    scheme, position, said = "", 0, False
    while position < len(header) <= _LONGEST:
        part = _PART.match(header, position)
        if part is None:
            return False
        if part["scheme"]:
            scheme = part["scheme"].lower()
        elif part["name"] and scheme == "bearer" and part["name"].lower() == "error":
            said = said or part["value"].strip('"') == "invalid_token"
        position = part.end()
    return said
