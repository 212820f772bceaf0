"""Carries out `troth deadletters request`, `approve`, `withdraw` and `watch`."""

import sys

import typer
from rich.text import Text

from troth.cli.deadletters import render, reviews
from troth.cli.deadletters.reach import Place, worker_api
from troth.cli.deadletters.reading import answers_read
from troth.cli.deadletters.reviews import Asked, Found
from troth.cli.deadletters.watch import Progress, follow, is_clean
from troth.cli.deadletters.worker import Document
from troth.cli.inputs.access import connected
from troth.cli.inputs.single import fault
from troth.cli.output import Output, console, structured
from troth.cli.quoting import quoted
from troth.resources.references import Ref


async def request(
    place: Place, asked: Asked, *, dry_run: bool, requested_by: str | None, output: Output
) -> bool:
    """Show what a review would do and request it; return whether it selects a letter.

    With an `output` that is not text, print the dry run or the manifest, and request nothing.
    """
    now = render.utc_now()
    shown = Output.TEXT if not dry_run else output
    user = requested_by or "dry run"
    if not dry_run and requested_by is None:
        async with connected(place.kubeconfig, place.context) as server:
            user = await reviews.user_name(server)
    manifest = asked.manifest(user, now)
    if output is not Output.TEXT and not dry_run:
        typer.echo(structured(manifest, output), nl=False)
        return True
    async with worker_api(place, asked.policy) as worker:
        result = await worker.dry_run(asked.select, asked.action)
    if shown is Output.TEXT:
        with answers_read():
            render.show_dry_run(console(wrap=False), result, asked.action, now)
    else:
        typer.echo(structured(result, output), nl=False)
    if not _count(result):
        if shown is Output.TEXT:
            typer.echo("no letter is selected, so nothing is requested", err=True)
        return False
    if not dry_run:
        # what was shown is what is requested, also if letters come meanwhile
        manifest["spec"]["select"] = asked.select | {"until": result["until"]}
        async with connected(place.kubeconfig, place.context) as server:
            created = await server.create(manifest)
        _say(f"requested {reviews.KIND} {created['metadata']['name']} as {user}")
    return True


async def approve(place: Place, namespace: str, name: str, *, yes: bool) -> bool:
    """Show what a review selects and approve it; return False if the user declines."""
    ref = Ref(place.namespace(namespace), name)
    async with connected(place.kubeconfig, place.context) as server:
        found, user = await reviews.find(server, ref), await reviews.user_name(server)
    _check_open(found)
    selection = found.review.status.selection
    if selection is None:
        raise fault(
            f"{reviews.KIND} {ref}",
            "has no selection yet; the worker writes it once it has seen the review",
        )
    shell = console(wrap=False)
    render.show_request(shell, found.manifest)
    await _show_selection(place, found, selection.digest)
    if not yes and not _agrees(user):
        return False
    async with connected(place.kubeconfig, place.context) as server:
        await reviews.approve(server, found, user)
    _say(f"approved {reviews.KIND} {name} as {user}")
    return True


async def _show_selection(place: Place, found: Found, digest: str) -> None:
    """Show the letters of a review, and whether they are still those of its status."""
    spec = found.review.spec
    async with worker_api(place, found.review.policy) as worker:
        result = await worker.dry_run(spec.select.manifest(), spec.action.value, until=found.until)
    with answers_read():
        shell = console(wrap=False)
        render.show_dry_run(shell, result, spec.action.value, render.utc_now())
        if result["digest"] != digest:
            told = "these are not the letters of the selection above: some were settled since"
            shell.print(Text(told, "yellow"))


async def withdraw(place: Place, namespace: str, name: str, reason: str) -> None:
    """End a review."""
    ref = Ref(place.namespace(namespace), name)
    async with connected(place.kubeconfig, place.context) as server:
        found, user = await reviews.find(server, ref), await reviews.user_name(server)
        _check_open(found)
        await reviews.withdraw(server, found, user, reason)
    _say(f"withdrew {reviews.KIND} {name} as {user}")


async def watch(place: Place, namespace: str, name: str) -> bool:
    """Follow a review until it ends; return whether it was carried out for all its letters."""
    ref = Ref(place.namespace(namespace), name)
    async with connected(place.kubeconfig, place.context) as server:
        return is_clean(await follow(server, ref, Progress(console(wrap=False))))


def _check_open(found: Found) -> None:
    if found.review.status.phase.ended:
        raise fault(
            f"{reviews.KIND} {found.review.ref}",
            f"has ended: {found.review.status.phase}; request another one",
        )


def _agrees(user: str) -> bool:
    if not sys.stdin.isatty():
        raise fault("standard input", "is no terminal to ask; add --yes to approve without")
    return typer.confirm(f"Approve it as {quoted(user)}?")


def _count(result: Document) -> int:
    with answers_read():
        return int(result["count"])


def _say(sentence: str) -> None:
    console(wrap=False).print(Text(quoted(sentence), "bold green"))
