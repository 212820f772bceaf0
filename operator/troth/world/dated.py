"""Since when what a written object says has been known: what waits for readers counts from then."""

from dataclasses import replace
from typing import TypeVar

from troth.world import observe
from troth.world.facts import Content, Fact, IdentitySecret

F = TypeVar("F", bound=Fact)


def dated(now: F, before: F | None, uptime: float) -> F:
    """Return a fact with since when, in seconds of this process's uptime, it says what it says."""
    match now, before:
        case IdentitySecret(), IdentitySecret() | None:
            roots = before and before.public.get(observe.ROOTS) == now.public.get(observe.ROOTS)
            leaf = before and before.leaf == now.leaf
            named = observe.WEBHOOK_KEYS
            keys = before and before.public.get(named) == now.public.get(named)
            return replace(
                now,
                roots_since=before.roots_since if before and roots else uptime,
                leaf_since=before.leaf_since if before and leaf else uptime,
                webhook_keys_since=before.webhook_keys_since if before and keys else uptime,
            )
        case Content(), Content() | None:
            same = before and before.text == now.text
            return replace(now, since=before.since if before and same else uptime)
        case _:
            return now
