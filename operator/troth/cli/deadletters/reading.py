"""Carries out `troth deadletters list` and `show`."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from troth.cli.deadletters import render
from troth.cli.deadletters.reach import Place, worker_api
from troth.cli.deadletters.worker import Document, NotFoundError, WorkerAPI
from troth.cli.inputs.access import connected
from troth.cli.inputs.single import fault
from troth.cli.output import Output, console, structured
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import LETTER_ID

PAGE = 500
"""Maximum number of letters in a page of the worker's answer."""


async def list_letters(
    place: Place,
    namespace: str,
    policy: str,
    filters: dict[str, str],
    *,
    limit: int,
    output: Output,
) -> None:
    """Print the letters of a policy, at most `limit`."""
    ref = Ref(place.namespace(namespace), policy)
    async with worker_api(place, ref) as worker:
        letters, more = await _pages(worker, filters, limit)
    if output is not Output.TEXT:
        document: Document = {"policy": str(ref), "letters": letters, "complete": not more}
        typer.echo(structured(document, output), nl=False)
        return
    with answers_read():
        if letters:
            render.show_letters(console(wrap=False), letters, render.utc_now())
        else:
            console(wrap=False).print("no dead letters", style="green")
    if more:
        typer.echo(f"there are more than {limit}; list them with --limit", err=True)


async def _pages(
    worker: WorkerAPI, filters: dict[str, str], limit: int
) -> tuple[list[Document], bool]:
    """Return letters, and whether there are more."""
    letters: list[Document] = []
    query = dict(filters)
    while True:
        page = await worker.get("", query | {"limit": str(min(PAGE, limit - len(letters)))})
        with answers_read():
            letters += page["letters"]
        token = page.get("continue")
        if not isinstance(token, str) or len(letters) >= limit:
            return letters, isinstance(token, str)
        query["continue"] = token


async def show_counts(place: Place, namespace: str, output: Output) -> None:
    """Print how many dead letters each policy of a namespace has, as its status says."""
    namespace = place.namespace(namespace)
    async with connected(place.kubeconfig, place.context) as server:
        policies = await server.listed("TopicPolicy", namespace)
    rows = []
    for policy in policies:
        counts = (policy.get("status") or {}).get("deadLetters")
        if counts is not None:
            empty = {"pending": 0, "quarantined": 0, "reasons": []}
            rows.append({"policy": policy["metadata"]["name"]} | empty | counts)
    if output is not Output.TEXT:
        document = {"namespace": namespace, "policies": rows}
        typer.echo(structured(document, output), nl=False)
    elif rows:
        render.show_policies(console(wrap=False), rows, render.utc_now())
    else:
        typer.echo("no worker has counted dead letters of policies here", err=True)


async def show_one(
    place: Place, namespace: str, policy: str, letter: str, *, payload: bool, output: Output
) -> None:
    """Print one letter, and its data if `payload` is set."""
    _check(letter)
    namespace = place.namespace(namespace)
    names = [policy] if policy else await _reviewed(place, namespace)
    shown, data = await _found(place, namespace, names, letter, payload=payload)
    if output is not Output.TEXT:
        document = shown if data is None else shown | {"payload": data}
        typer.echo(structured(document, output), nl=False)
        return
    with answers_read():
        shell = console()
        render.show_letter(shell, shown, render.utc_now())
        if data is not None:
            render.show_payload(shell, data, verified=render.is_valid(shown))


async def _reviewed(place: Place, namespace: str) -> list[str]:
    """Return the names of the policies of a namespace whose dead letters are reviewed."""
    async with connected(place.kubeconfig, place.context) as server:
        policies = await server.listed("TopicPolicy", namespace)
    names = [
        str(each["metadata"]["name"])
        for each in policies
        if ((each.get("spec") or {}).get("deadLetter") or {}).get("reviewer")
    ]
    if not names:
        raise fault(
            f"Namespace {namespace}", "has no TopicPolicy with a deadLetter.reviewer; add -n"
        )
    return names


async def _found(
    place: Place, namespace: str, names: list[str], letter: str, *, payload: bool
) -> tuple[Document, Document | None]:
    """Return a letter of the first policy that has it, and its payload."""
    for name in names:
        async with worker_api(place, Ref(namespace, name)) as worker:
            try:
                shown = await worker.get(f"/{letter}")
            except NotFoundError:
                if name == names[-1]:
                    raise
                continue
            data = await worker.get(f"/{letter}/payload") if payload else None
            return shown, data
    raise AssertionError("at least one policy")


def _check(letter: str) -> None:
    """Raise `FaultyManifests` if a text is no ID, which becomes a part of a path."""
    if not LETTER_ID.fullmatch(letter):
        raise fault("ID", "is not the ID of a dead letter; `troth deadletters list` shows them")


@contextmanager
def answers_read() -> Iterator[None]:
    """Raise `FaultyManifests` if an answer of the worker lacks what this version reads."""
    try:
        yield
    except (KeyError, TypeError, AttributeError):
        raise fault(
            "worker", "its answer has another form; use the version of troth that it has"
        ) from None
