"""Renders `troth token inspect`: a token's content, clearly marked as unverified."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted, without_tokens
from troth.cli.status.track import since, until
from troth.cli.token.decode import Anatomy
from troth.cli.token.warnings import TIMES, moment, unusual

_INDENT = (0, 0, 0, 2)
_WARNING = "NOT VERIFIED: anyone can write such a token; check it with `troth token verify`."


def show(console: Console, anatomy: Anatomy, now: datetime) -> None:
    """Print the content of a token and what is unusual in it, but not its text or signature."""
    size = f"{anatomy.size} bytes"
    console.print(Text(_WARNING, "bold yellow"))
    console.print()
    console.print(Text.assemble((_title(anatomy), "bold"), "  ", size))
    console.print(_section("header", ((name, value, "") for name, value in anatomy.header.items())))
    console.print(_section("claims", _claims(anatomy.claims, now)))
    found = unusual(anatomy, now)
    if found:
        lines = (Text(f"! {sentence}", "yellow") for sentence in found)
        console.print(_block("unusual", list(lines)))
    else:
        console.print(_block("unusual", [Text("nothing")]))


def document(anatomy: Anatomy, now: datetime) -> dict[str, Any]:
    """Return the same content as JSON."""
    return {
        "verified": False,
        "kind": anatomy.sort.value,
        "bytes": anatomy.size,
        "header": without_tokens(anatomy.header),
        "claims": without_tokens(anatomy.claims),
        "times": {
            name: {"at": f"{when:%Y-%m-%dT%H:%M:%SZ}", "said": _relative(name, when, now)}
            for name in TIMES
            if (when := moment(anatomy.claims.get(name))) is not None
        },
        "unusual": list(unusual(anatomy, now)),
    }


def _title(anatomy: Anatomy) -> str:
    title = anatomy.sort.value
    return title[0].upper() + title[1:]


def _claims(claims: dict[str, Any], now: datetime) -> Iterator[tuple[str, Any, str]]:
    for name, value in claims.items():
        when = moment(value) if name in TIMES else None
        if when is None:
            yield name, value, ""
        else:
            yield name, f"{when:%Y-%m-%d %H:%M:%S} UTC", _relative(name, when, now)


def _relative(name: str, when: datetime, now: datetime) -> str:
    """Return a moment relative to now, as `expires in 3m`."""
    if name == "exp":
        return f"expires {until(when, now)}" if when > now else f"expired {since(when, now)}"
    if name == "nbf":
        return f"valid {until(when, now)}" if when > now else f"valid since {since(when, now)}"
    return f"issued {until(when, now)}" if when > now else f"issued {since(when, now)}"


def _section(title: str, rows: Iterator[tuple[str, Any, str]]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value, said in rows:
        text = f"{quoted(value)}  {said}".rstrip()
        table.add_row(Text(quoted(name), "cyan"), Text(text))
    return _block(title, [table])


def _block(title: str, lines: list[RenderableType]) -> RenderableType:
    return Group(
        Padding(Text(title, "dim"), _INDENT, expand=False),
        *(Padding(each, (0, 0, 0, 4), expand=False) for each in lines),
    )
