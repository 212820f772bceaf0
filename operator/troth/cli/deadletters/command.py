"""`troth deadletters`: list dead letters, look at one, and decide what happens to them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.deadletters import options
from troth.cli.exit_codes import ExitCode
from troth.cli.inputs.sources import Context
from troth.cli.inputs.targets import Cluster
from troth.cli.output import Output, OutputOption
from troth.resources.reviews.dead_letter_review import ReviewAction

if TYPE_CHECKING:
    from troth.cli.deadletters.reach import Place

app = typer.Typer(
    help="List dead letters, look at one, and request, approve or end reviews of them.",
    no_args_is_help=True,
)

Policy = Annotated[str, typer.Argument(metavar="POLICY", help="Name of the TopicPolicy.")]
Review = Annotated[str, typer.Argument(metavar="REVIEW", help="Name of the DeadLetterReview.")]


@app.command("list")
def list_(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="Name of the TopicPolicy; without it, all are counted."
        ),
    ] = "",
    *,
    namespace: options.Namespace = "",
    rejection: options.Rejection = None,
    producer: options.Producer = None,
    consumer: options.Consumer = None,
    tenant: options.Tenant = None,
    since: options.Since = None,
    until: options.Until = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="List the letters that are set aside.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Maximum number of letters.")
    ] = 100,
    output: OutputOption = Output.TEXT,
    server: options.Server = None,
    worker: options.Worker = None,
    bundle: options.Bundle = None,
    token: options.Token = None,
    token_file: options.TokenFile = None,
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """List the dead letters of a policy that await a decision, the oldest first.

    Without POLICY, show how many each policy of the namespace has.
    """
    from troth.cli.deadletters import reading  # noqa: PLC0415

    filters = options.selected(
        rejection=rejection,
        producer=producer,
        consumer=consumer,
        tenant=tenant,
        since=since,
        until=until,
    )
    place = _place(kubeconfig, context, server, worker, bundle, token, token_file)
    if not policy:
        if filters or quarantined:
            raise typer.BadParameter("filters need a policy; name it", param_hint="POLICY")
        asyncio.run(reading.show_counts(place, namespace, output))
        return
    if quarantined:
        filters["state"] = "Quarantined"
    asyncio.run(reading.list_letters(place, namespace, policy, filters, limit=limit, output=output))


@app.command("show")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="ID of the dead letter.")],
    *,
    policy: Annotated[
        str,
        typer.Option("--policy", "-p", help="Name of the TopicPolicy. Defaults to each in turn."),
    ] = "",
    namespace: options.Namespace = "",
    payload: Annotated[
        bool,
        typer.Option(
            "--payload",
            help="Show the data too. It needs the verb payload, and leaves an entry in the audit "
            "log.",
        ),
    ] = False,
    output: OutputOption = Output.TEXT,
    server: options.Server = None,
    worker: options.Worker = None,
    bundle: options.Bundle = None,
    token: options.Token = None,
    token_file: options.TokenFile = None,
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """Show a dead letter: each check of its message, and what a redrive would do now."""
    from troth.cli.deadletters import reading  # noqa: PLC0415

    place = _place(kubeconfig, context, server, worker, bundle, token, token_file)
    asyncio.run(reading.show_one(place, namespace, policy, letter, payload=payload, output=output))


@app.command("request")
def request(
    policy: Policy,
    *,
    action: Annotated[ReviewAction, typer.Option(help="What happens to the letters.")],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Reason of the decision, for the record.")
    ],
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="ID of a dead letter; repeatable.")
    ] = None,
    namespace: options.Namespace = "",
    rejection: options.Rejection = None,
    producer: options.Producer = None,
    consumer: options.Consumer = None,
    tenant: options.Tenant = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of letters. Default 1000.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Maximum rate of redrives, such as 50/s.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the review. Defaults to one with the time.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and request nothing.")
    ] = False,
    requested_by: Annotated[
        str | None,
        typer.Option(
            metavar="USER",
            help="With -o yaml or json: the user who will apply the manifest, such as that of a "
            "GitOps controller. Defaults to you.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
    server: options.Server = None,
    worker: options.Worker = None,
    bundle: options.Bundle = None,
    token: options.Token = None,
    token_file: options.TokenFile = None,
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """Say what a review would do, then request it. With -o yaml, print the manifest instead.

    Exit code 1 means that it selects no letter, so that nothing is requested.
    """
    from troth.cli.deadletters import deciding  # noqa: PLC0415
    from troth.cli.deadletters.reviews import Asked  # noqa: PLC0415
    from troth.edge.events.rejection import Reason  # noqa: PLC0415
    from troth.resources.references import Ref  # noqa: PLC0415

    if requested_by is not None and output is Output.TEXT:
        raise typer.BadParameter(
            "the API server accepts a request only from the user it names; add -o yaml",
            param_hint="--requested-by",
        )
    if reason in set(Reason):
        raise typer.BadParameter(
            f"says why you decide; to select letters by why they were rejected, write --rejection "
            f"{reason}",
            param_hint="--reason",
        )
    filters = options.selected(
        rejection=rejection,
        producer=producer,
        consumer=consumer,
        tenant=tenant,
        since=since,
        until=until,
    )
    place = _place(kubeconfig, context, server, worker, bundle, token, token_file)
    select = options.as_select(filters, ids or [], limit)
    ref = Ref(place.namespace(namespace), policy)
    asked = Asked(ref, action.value, reason, select, name, rate)
    done = asyncio.run(
        deciding.request(place, asked, dry_run=dry_run, requested_by=requested_by, output=output)
    )
    raise typer.Exit(ExitCode.CLEAN if done else ExitCode.FINDINGS)


@app.command("approve")
def approve(
    review: Review,
    *,
    namespace: options.Namespace = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without a question.")] = False,
    server: options.Server = None,
    worker: options.Worker = None,
    bundle: options.Bundle = None,
    token: options.Token = None,
    token_file: options.TokenFile = None,
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """Show what a review selects, then approve it for exactly these letters.

    Exit code 1 means that you declined.
    """
    from troth.cli.deadletters import deciding  # noqa: PLC0415

    place = _place(kubeconfig, context, server, worker, bundle, token, token_file)
    done = asyncio.run(deciding.approve(place, namespace, review, yes=yes))
    raise typer.Exit(ExitCode.CLEAN if done else ExitCode.FINDINGS)


@app.command("withdraw")
def withdraw(
    review: Review,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Reason why it ends.")],
    namespace: options.Namespace = "",
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """End a review. Letters that are settled already stay so."""
    from troth.cli.deadletters import deciding  # noqa: PLC0415

    place = _place(kubeconfig, context)
    asyncio.run(deciding.withdraw(place, namespace, review, reason))


@app.command("watch")
def watch(
    review: Review,
    *,
    namespace: options.Namespace = "",
    kubeconfig: Cluster = None,
    context: Context = None,
) -> None:
    """Follow a review until it ends.

    Exit code 1 means that it was withdrawn or refused, or that letters were skipped or failed.
    """
    from troth.cli.deadletters import deciding  # noqa: PLC0415

    place = _place(kubeconfig, context)
    try:
        clean = asyncio.run(deciding.watch(place, namespace, review))
    except KeyboardInterrupt:
        typer.echo("the review continues in the cluster", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(ExitCode.CLEAN if clean else ExitCode.FINDINGS)


def _place(  # noqa: PLR0917 - the options in their order
    kubeconfig: Path | None,
    context: str | None,
    server: str | None = None,
    worker: str | None = None,
    bundle: Path | None = None,
    token: str | None = None,
    token_file: Path | None = None,
) -> "Place":
    from troth.cli.deadletters.reach import Place  # noqa: PLC0415

    return Place(kubeconfig, context, server, worker, bundle, token, token_file)
