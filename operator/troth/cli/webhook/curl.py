"""Parses a curl command as a shell and curl would, without running or opening anything.

A command may come from a ticket, so files that it names are never opened.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from troth.webhooks.schemes.delivery import Delivery

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_URL = re.compile(r"(https?://[!-\"$->@-~]+)(\?[!-\"$-~]*)?")
_AUTHORITY = re.compile(r"https?://[^/]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_METHOD = re.compile(r"[A-Z]{1,20}")
# literal characters, '…', "…" without $ and `, and a character after \
_PIECE = re.compile(
    r"""([A-Za-z0-9%+,./:=?@_^\x80-\U0010ffff-]+)|'([^']*)'|"((?:[^"\\$`]|\\[\s\S])*)"|\\([^\r\n])"""
)
_ESCAPED = re.compile(r"""\\([$`"\\\n])""")
_GAP = re.compile(r"(?:[ \t]|\\\r?\n)*")
_BLANKS = frozenset(" \t")

_SILENT = frozenset(
    {
        *("-s", "--silent", "-S", "--show-error", "-i", "--include", "-v", "--verbose"),
        *("-f", "--fail", "-k", "--insecure", "-L", "--location", "--compressed", "--http1.1"),
        *("--http2", "-N", "--no-buffer", "-4", "-6"),
    }
)
"""Options that do not affect what is signed."""

_SHORT = {
    "-X": "--request",
    "-H": "--header",
    "-d": "--data",
    "-A": "--user-agent",
    "-m": "--max-time",
    "-o": "--output",
}
_IGNORED = frozenset({"--max-time", "--output"})


class CurlError(ValueError):
    """A curl command that cannot be parsed. The message names options and quotes no value."""


@dataclass(frozen=True, slots=True)
class CurlLine:
    """The request that a curl command would send, and its URL without the query."""

    delivery: Delivery
    url: str


@dataclass(slots=True)
class _Parts:
    method: str = ""
    urls: list[str] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    json: bool = False


def is_curl(text: bytes) -> bool:
    """Return whether a text is a curl command."""
    return text.lstrip().split(None, 1)[:1] == [b"curl"]


def read_curl(text: bytes) -> CurlLine:
    """Parse a curl command; raises `CurlError`."""
    try:
        line = text.decode().strip()
    except UnicodeDecodeError:
        raise CurlError("the curl command is not UTF-8; save the request as raw HTTP") from None
    words = iter(_words(line)[1:])
    parts = _Parts()
    for word in words:
        _take(parts, word, words)
    if len(parts.urls) != 1:
        raise CurlError("the curl command has no URL, or more than one; give exactly one")
    return _line(parts)


def _words(line: str) -> list[str]:
    """Split a command line into words; rejects anything but quoting."""
    words, position = [], 0
    while position < len(line):
        word, position = _word(line, position)
        words.append(word)
        gap = _GAP.match(line, position)
        assert gap is not None
        if gap.end() < len(line) and not _BLANKS.intersection(gap[0]):
            raise CurlError(
                "the curl command has shell syntax or unclosed quotes; put each value in '…', and "
                "give only the curl command"
            )
        position = gap.end()
    return words


def _word(line: str, position: int) -> tuple[str, int]:
    pieces = []
    while found := _PIECE.match(line, position):
        plain, single, double, escaped = found.groups()
        if double is not None:
            pieces.append(_ESCAPED.sub(_unescaped, double))
        else:
            pieces.append(plain or single or escaped or "")
        position = found.end()
    return "".join(pieces), position


def _unescaped(found: re.Match[str]) -> str:
    return found[1].strip("\n")


def _take(parts: _Parts, word: str, words: Iterator[str]) -> None:
    if not word.startswith("-") or word == "-":
        parts.urls.append(word)
        return
    if word in _SILENT:
        return
    if not word.startswith("--"):
        if all(f"-{each}" in _SILENT for each in word[1:]):
            return
        name, attached = _SHORT.get(word[:2], word[:2]), word[2:]
    else:
        name, attached = word, ""
    take = _OPTIONS.get(name)
    if take is None and name not in _IGNORED:
        shown = name if _NAME.fullmatch(name) else "with that name"
        raise CurlError(
            f"the curl option {shown} is not supported; remove it, or save the request as raw HTTP"
        )
    value = attached or next(words, None)
    if value is None:
        raise CurlError(f"the curl option {name} has no value")
    if take is not None:
        take(parts, value)


def _request(parts: _Parts, value: str) -> None:
    if _METHOD.fullmatch(value) is None:
        raise CurlError("--request is not an HTTP method such as POST")
    parts.method = value


def _header(parts: _Parts, value: str) -> None:
    name, colon, rest = value.partition(":")
    if not colon or not rest.strip() or _NAME.fullmatch(name) is None or not _is_line(rest):
        raise CurlError("--header is not NAME: VALUE; empty headers and @FILE are not supported")
    parts.headers.append((name.lower(), rest.strip(" \t")))


def _user_agent(parts: _Parts, value: str) -> None:
    _header(parts, f"user-agent: {value}")


def _data(parts: _Parts, value: str) -> None:
    if value.startswith("@"):
        raise CurlError(
            "files in a curl command are not opened; give the body with --body FILE instead"
        )
    parts.data.append(value)


def _data_raw(parts: _Parts, value: str) -> None:
    parts.data.append(value)


def _json(parts: _Parts, value: str) -> None:
    _data(parts, value)
    parts.json = True


def _url(parts: _Parts, value: str) -> None:
    parts.urls.append(value)


_OPTIONS: Mapping[str, Callable[[_Parts, str], None]] = {
    "--request": _request,
    "--header": _header,
    "--user-agent": _user_agent,
    "--data": _data,
    "--data-ascii": _data,
    "--data-binary": _data,
    "--data-raw": _data_raw,
    "--json": _json,
    "--url": _url,
}


def _line(parts: _Parts) -> CurlLine:
    found = _URL.fullmatch(parts.urls[0])
    if found is None:
        raise CurlError("the URL is not a printable http:// or https:// URL; write it in full")
    url, query = found[1], found[2] or ""
    path = url[len(_authority(url)) :] or "/"
    # curl joins several --data with &, and several --json with nothing
    body = ("" if parts.json else "&").join(parts.data).encode()
    headers = list(parts.headers)
    if parts.data and all(name != "content-type" for name, _ in headers):
        headers.append(("content-type", _JSON if parts.json else _FORM))
    method = parts.method or ("POST" if parts.data else "GET")
    delivery = Delivery(
        method,
        (path + query).encode(),
        tuple((name.encode(), value.encode("latin-1")) for name, value in headers),
        body,
    )
    return CurlLine(delivery, url)


def _authority(url: str) -> str:
    found = _AUTHORITY.match(url)
    assert found is not None
    return found[0]


def _is_line(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return not any(ord(each) < ord(" ") and each != "\t" for each in value)


def write_curl(delivery: Delivery, url: str) -> str:
    """Return the curl command that sends a delivery; `url` is without a query.

    Raises `CurlError` if a command line cannot hold the body.
    """
    try:
        body = delivery.body.decode()
    except UnicodeDecodeError:
        body = "\0"
    if "\0" in body:
        raise CurlError("a command line cannot hold this body; use --output http")
    _, mark, query = delivery.target.decode("ascii").partition("?")
    lines = [f"curl -X {delivery.method} {shlex.quote(url + mark + query)}"]
    lines += [
        "-H " + shlex.quote(f"{name.decode()}: {value.decode('latin-1')}")
        for name, value in delivery.headers
    ]
    lines.append(f"--data-raw {shlex.quote(body)}")
    return " \\\n  ".join(lines)
