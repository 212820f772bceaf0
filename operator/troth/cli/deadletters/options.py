"""Options of `troth deadletters`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import PydanticCustomError

from troth.resources.schema.scalars import format_time, parse_duration, parse_moment

Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the policy. Defaults to the context's.",
        show_default=False,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(help="URL of the worker. Defaults to one of its pods, through the API server."),
]
Worker = Annotated[
    str | None,
    typer.Option(
        metavar="SPIFFE-ID",
        help="SPIFFE ID of the worker. Defaults to that of the policy's deadLetter.reviewer.",
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Bundle map that verifies the worker. Defaults to that of its namespace.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="TROTH_TOKEN", help="Bearer token. Defaults to that of the kubeconfig's user."
    ),
]
TokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the bearer token.")]
Rejection = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Reason of the rejection, such as SchemaInvalid."),
]
Producer = Annotated[
    str | None, typer.Option(metavar="[NAMESPACE/]NAME", help="ServiceIdentity of the producer.")
]
Consumer = Annotated[
    str | None, typer.Option(metavar="[NAMESPACE/]NAME", help="ServiceIdentity of the consumer.")
]
Tenant = Annotated[str | None, typer.Option(help="Tenant of the messages.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Earliest dead letter: RFC 3339, or an age such as 24h."),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Latest dead letter: RFC 3339, or an age such as 1h."),
]


def moment(text: str | None, option: str) -> str | None:
    """Return a time or an age as RFC 3339; raises `typer.BadParameter`."""
    if text is None:
        return None
    try:
        return format_time(parse_moment(text))
    except PydanticCustomError:
        pass
    try:
        age = parse_duration(text)
    except PydanticCustomError:
        raise typer.BadParameter(
            f"{text!r} is not a time; write 2026-11-28T12:00:00Z, or an age such as 24h",
            param_hint=option,
        ) from None
    return format_time(datetime.now(UTC) - age)


def selected(
    *,
    rejection: str | None,
    producer: str | None,
    consumer: str | None,
    tenant: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str]:
    """Return the filters that are given, by the names of the list API."""
    given = {
        "reason": rejection,
        "producer": producer,
        "consumer": consumer,
        "tenant": tenant,
        "since": moment(since, "--since"),
        "until": moment(until, "--until"),
    }
    return {name: value for name, value in given.items() if value is not None}


def as_select(filters: dict[str, str], ids: list[str], limit: int | None) -> dict[str, Any]:
    """Return filters as the field `select` of a DeadLetterReview."""
    select: dict[str, Any] = dict(filters)
    for name in ("producer", "consumer"):
        if name in filters:
            namespace, _, identity = filters[name].rpartition("/")
            place = {"namespace": namespace} if namespace else {}
            select[name] = {"name": identity} | place
    if ids:
        select["ids"] = ids
    return select | ({"limit": limit} if limit is not None else {})
