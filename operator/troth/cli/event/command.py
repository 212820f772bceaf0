"""`troth event`: seal an event, open it, explain its verdict, and show the events of a topic."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.event import options
from troth.cli.exit_codes import ExitCode
from troth.cli.inputs.moments import At, read_moment
from troth.cli.inputs.single import fault, read_file, read_given
from troth.cli.output import Output, OutputOption, Structured, console, structured

if TYPE_CHECKING:
    from troth.cli.event.session import Session
    from troth.edge.events.message import Message

app = typer.Typer(
    help="Seal an event as its producer would, open one as its consumer would, and read a topic.",
    no_args_is_help=True,
)

_MOST_DATA = 64 * 1024 * 1024
_LONGEST_TOKEN = 64 * 1024


@app.command("seal")
def seal(
    given: options.DataFile = "-",
    *,
    type_: Annotated[
        str, typer.Option("--type", "-t", help="CloudEvents type, such as shop.order.placed.")
    ],
    topic: Annotated[
        str | None, typer.Option(help="Topic; required if the policy has a prefix.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Subject on whose behalf the event is published.")
    ] = None,
    subject_type: Annotated[
        str, typer.Option(help="Type of the subject (CloudEvents' authtype).")
    ] = "app_user",
    tenant: Annotated[str | None, typer.Option(help="Tenant of the subject.")] = None,
    request_id: Annotated[
        str | None, typer.Option(help="ID of the request or transaction.")
    ] = None,
    transaction: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the transaction token of the event."),
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="What the event is about (CloudEvents' subject).")
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="ID of the event. Defaults to a new UUID.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="Media type of the data.")] = "application/json",
    policy: options.Policy = None,
    identity: options.IdentityMount = options.IDENTITY_MOUNT,
    bundle: options.BundleMount = options.BUNDLE_MOUNT,
    schemas: options.SchemasMount = options.SCHEMAS_MOUNT,
    output: Annotated[
        Structured, typer.Option("--output", "-o", help="Output format.")
    ] = Structured.JSON,
) -> None:
    """Seal data as its producer would, and print the message. Nothing is published.

    Exit code 1 means that a consumer would reject the event, so it is not sealed. Needs the
    identity's private key.
    """
    from troth.cli.event import portable  # noqa: PLC0415
    from troth.cli.event.mounts import mounted, published  # noqa: PLC0415
    from troth.cli.event.remedies import sentence  # noqa: PLC0415
    from troth.cli.quoting import quoted  # noqa: PLC0415
    from troth.edge.events.rejection import Rejection  # noqa: PLC0415
    from troth.edge.events.sealing import Sealer, SealingError  # noqa: PLC0415
    from troth.edge.identity.snapshot import IdentityError  # noqa: PLC0415

    data = read_given(given, _MOST_DATA, "data")
    token = None if transaction is None else _token(transaction)
    mount = mounted(identity, bundle, schemas)
    entry = published(mount.snapshot, topic, policy)
    binding = portable.binding_of(entry.type)
    try:
        sealed = Sealer(mount.identity, entry.policy).seal(
            data,
            type=type_,
            topic=topic,
            subject=subject,
            subject_type=subject_type,
            tenant=tenant,
            request_id=request_id,
            transaction=token,
            about=about,
            id=event_id,
            content_type=content_type,
        )
    except SealingError as error:
        said = quoted(sentence(Rejection(error.reason, error.detail)))
        console(errors=True).print(f"not sealed: {error.reason}: {said}", markup=False)
        raise typer.Exit(ExitCode.FINDINGS) from None
    except IdentityError as error:
        raise fault(str(identity), str(error)) from None
    typer.echo(structured(portable.sealed_document(sealed, binding), output), nl=False)


@app.command("open")
def open_(
    given: options.MessageFile = "-",
    *,
    policy: options.Policy = None,
    group: options.Group = None,
    identity: options.IdentityMount = options.IDENTITY_MOUNT,
    bundle: options.BundleMount = options.BUNDLE_MOUNT,
    schemas: options.SchemasMount = options.SCHEMAS_MOUNT,
    at: At = "",
    payload: options.Payload = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Open a message as its consumer would, and print the event or the rejection.

    Exit code 1 means rejected. Needs no private key. Duplicates are not recognized.
    """
    from troth.cli.event import render  # noqa: PLC0415

    message = _message(given)
    session = _session(
        message.topic, at, policy=policy, group=group, mounts=(identity, bundle, schemas)
    )
    opened = session.open(message)
    if output is Output.TEXT:
        render.show_opened(console(), opened, payload=payload)
    else:
        document = render.opened_document(opened, payload=payload)
        typer.echo(structured(document, output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if opened.accepted else ExitCode.FINDINGS)


@app.command("explain")
def explain(
    given: options.MessageFile = "-",
    *,
    policy: options.Policy = None,
    group: options.Group = None,
    identity: options.IdentityMount = options.IDENTITY_MOUNT,
    bundle: options.BundleMount = options.BUNDLE_MOUNT,
    schemas: options.SchemasMount = options.SCHEMAS_MOUNT,
    at: At = "",
    payload: options.Payload = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show each check of a message, and what to do about those that failed.

    Exit code 1 means rejected.
    """
    from troth.cli.event import render  # noqa: PLC0415
    from troth.cli.event.session import OpenedLetter  # noqa: PLC0415
    from troth.edge.events.consumption.dead_letters import DeadLetter  # noqa: PLC0415

    message = _message(given)
    session = _session(
        message.topic, at, policy=policy, group=group, mounts=(identity, bundle, schemas)
    )
    opened = session.open(message)
    if isinstance(opened, OpenedLetter):
        letter = opened.letter
        original = session.original(letter) if isinstance(letter, DeadLetter) else None
        document = render.explained_letter_document(opened, original, payload=payload)
        if output is Output.TEXT:
            render.show_explained_letter(console(), opened, original, payload=payload)
    else:
        judgement = session.explain(message)
        document = render.judgement_document(judgement, payload=payload)
        if output is Output.TEXT:
            render.show_judgement(console(), judgement, payload=payload)
    if output is not Output.TEXT:
        typer.echo(structured(document, output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if opened.accepted else ExitCode.FINDINGS)


@app.command("tail")
def tail(
    topic: Annotated[
        str | None,
        typer.Argument(help="Topic. Defaults to that of the policy, or to all under its prefix."),
    ] = None,
    *,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Read the dead-letter topic of the policy.")
    ] = False,
    offset: Annotated[
        str,
        typer.Option(
            metavar="start|end|N|-N",
            help="First message: an offset (in NATS a sequence number), or -N for the last N of "
            "each partition or of the stream.",
        ),
    ] = "-10",
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this partition of Kafka.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Stream of NATS. Defaults to that of the policy.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="End after this many messages.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for further messages, until Ctrl-C.")
    ] = False,
    policy: options.Policy = None,
    group: options.Group = None,
    identity: options.IdentityMount = options.IDENTITY_MOUNT,
    bundle: options.BundleMount = options.BUNDLE_MOUNT,
    schemas: options.SchemasMount = options.SCHEMAS_MOUNT,
    credentials: options.Credentials = options.CREDENTIALS_MOUNT,
    payload: options.Payload = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the messages of a topic, each with its verdict.

    Reads beside the consumers: it joins no group, and neither commits nor acknowledges. Exit code 1
    means that a message was rejected.
    """
    from troth.cli.event.mounts import mounted  # noqa: PLC0415
    from troth.cli.event.tail import Tail, TailOptions  # noqa: PLC0415

    asked = TailOptions(
        topic=topic,
        dead_letters=dead_letters,
        offset=offset,
        partition=partition,
        stream=stream,
        limit=limit,
        follow=follow,
        policy=policy,
        group=group,
        payload=payload,
        output=output,
    )
    rejected = Tail(asked, mounted(identity, bundle, schemas), credentials).run()
    raise typer.Exit(ExitCode.FINDINGS if rejected else ExitCode.CLEAN)


def _session(
    topic: str,
    at: str,
    *,
    policy: str | None,
    group: str | None,
    mounts: tuple[Path, Path, Path],
) -> "Session":
    """Return what opens messages of a topic, at a time if one is given."""
    from troth.cli.event.mounts import consumed, mounted  # noqa: PLC0415
    from troth.cli.event.session import Session  # noqa: PLC0415

    now = read_moment(at, datetime.now(UTC))
    mount = mounted(*mounts)
    choice = consumed(mount.snapshot, topic, policy, group)
    return Session(mount, choice, lambda: now)


def _message(given: str) -> "Message":
    from troth.cli.event import portable  # noqa: PLC0415

    place = "standard input" if given in ("", "-") else given.removeprefix("@")
    text = read_given(given, portable.LIMIT, "message")
    try:
        return portable.read(text)
    except portable.NotAMessageError as error:
        raise fault(place, str(error)) from None


def _token(path: Path) -> str:
    try:
        return read_file(path, _LONGEST_TOKEN).decode("ascii").strip()
    except UnicodeDecodeError:
        raise fault(str(path), "not a token: not ASCII text") from None
