"""Prints a plan: the result of a rehearsal compared with the state before it."""

import copy
import logging
from collections.abc import Iterable
from datetime import datetime

import structlog
from rich.console import Console

from troth.cli.inputs import sources
from troth.cli.plan.broker_preview import at_brokers
from troth.cli.plan.differences import Difference, differences
from troth.reconcile.rehearsal import Place, Rehearsal
from troth.resources.identity.status import EdgeState
from troth.resources.manifests import Manifest
from troth.trust.edges.evaluation import Edge, all_edges
from troth.world.world import World


async def preview(  # noqa: PLR0917 - one call, from the command
    console: Console,
    manifests: list[Manifest],
    before: list[Manifest],
    hidden: frozenset[str],
    own_namespace: str,
    now: datetime,
) -> bool:
    """Print what applying `manifests` over `before` changes; return whether anything does."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rehearsal = Rehearsal(before)
    sources.check_updates(rehearsal.objects, manifests)
    start = copy.deepcopy(rehearsal.objects)
    declared_before = _declared(start.values())
    for manifest in manifests:
        rehearsal.put(manifest)
    engine = await rehearsal.converge(own_namespace, now)
    found = [
        difference
        for difference in differences(start, rehearsal.objects)
        if difference.kind not in hidden
    ]
    for kind in sorted(hidden):
        console.print(f"{kind}: omitted, because you are not allowed to list it", style="yellow")
    for difference in found:
        _show(console, difference)
    _show_edges(
        console, all_edges(declared_before.registry, now), all_edges(engine.world.registry, now)
    )
    beside = at_brokers(declared_before, engine.world)
    _show_lists(
        console,
        ("Grants to add", beside.begin, "green"),
        ("Grants to revoke", beside.end, "red"),
        *([] if "Secret" in hidden else [("Credentials to issue", beside.credentials, "green")]),
    )
    _show_attention(console, rehearsal.objects, beside.attention)
    counts = {sign: sum(each.sign == sign for each in found) for sign in "+~-"}
    console.print(
        f"{counts['+']} to add, {counts['~']} to change, {counts['-']} to remove", style="bold"
    )
    return bool(found) or beside.any


_STYLES = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def _show(console: Console, difference: Difference) -> None:
    title = f"{difference.sign} {difference.kind} {difference.ref}"
    console.print(title, style=f"bold {_STYLES[difference.sign]}", markup=False)
    for line in difference.lines:
        console.print(f"    {line}", style=_STYLES.get(line[:1], "dim"), markup=False)


_DECLARED = (
    "TrustDomain",
    "ServiceIdentity",
    "Namespace",
    "MessageBroker",
    "TopicPolicy",
    "WebhookEndpoint",
)


def _declared(objects: Iterable[Manifest]) -> World:
    world = World("")
    for manifest in objects:
        if manifest["kind"] in _DECLARED:
            world.observe(manifest, uptime=0.0)
    return world


def _show_edges(console: Console, before: Iterable[Edge], after: Iterable[Edge]) -> None:
    def live(edges: Iterable[Edge]) -> set[str]:
        return {
            f"{edge.caller} → {edge.callee}:{edge.port}"
            for edge in edges
            if edge.state is EdgeState.LIVE
        }

    was, will_be = live(before), live(after)
    _show_lists(
        console,
        ("Edges to open", will_be - was, "green"),
        ("Edges to close", was - will_be, "red"),
    )


def _show_lists(console: Console, *lists: tuple[str, Iterable[str], str]) -> None:
    """Show the lists that are not empty, each with its title and style."""
    for title, lines, style in lists:
        if lines:
            console.print(title, style="bold")
            for line in sorted(lines):
                console.print(f"    {line}", style=style, markup=False)


_OF_BROKERS = frozenset({"NotSeenYet", "AwaitingBroker", "AwaitingCredential"})
"""Reasons that only mean that no broker was contacted."""


def _show_attention(
    console: Console, objects: dict[Place, Manifest], at_brokers: Iterable[str]
) -> None:
    """Show the problems that remain after the change."""
    lines = [
        f"{kind} {ref}: {condition['reason']}: {condition.get('message', '')}"
        for (kind, ref), manifest in sorted(objects.items())
        for condition in manifest.get("status", {}).get("conditions", [])
        if condition["type"] in ("Ready", "PeersAgree")
        and condition["status"] != "True"
        and condition["reason"] not in _OF_BROKERS
        and kind in _DECLARED
    ]
    _show_lists(console, ("Needs attention", [*lines, *at_brokers], "yellow"))
