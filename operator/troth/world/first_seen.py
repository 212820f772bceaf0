"""Time at which each value of a written object was first observed, for propagation delays."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from troth.documents.identity.deliveries import ListedDelivery, deliveries_in, key_ids_in
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS, WEBHOOK_KEYS
from troth.world.facts.broker import CredentialSecret
from troth.world.facts.objects import Content, Fact, IdentitySecret

F = TypeVar("F", bound=Fact)
K = TypeVar("K", bound=Hashable)


_NONE: Mapping[Any, float] = {}  # never changed


def with_first_seen(now: F, before: F | None, uptime: float) -> F:
    """Return a fact with the times, in seconds of this process's uptime, since which it holds."""
    match now, before:
        case IdentitySecret(), IdentitySecret() | None:
            roots = before and before.public.get(ROOTS) == now.public.get(ROOTS)
            leaf = before and before.leaf == now.leaf
            return replace(
                now,
                roots_since=before.roots_since if before and roots else uptime,
                leaf_since=before.leaf_since if before and leaf else uptime,
                webhooks_since=_since(
                    _deliveries(now), before.webhooks_since if before else {}, uptime
                ),
                webhook_keys_since=_since(
                    _webhook_keys(now), before.webhook_keys_since if before else {}, uptime
                ),
            )
        case Content(), Content() | None:
            same = before and before.text == now.text
            return replace(now, since=before.since if before and same else uptime)
        case CredentialSecret(), CredentialSecret() | None:
            coming = before and before.next == now.next
            held = now.retiring, now.current
            retiring = before and (before.retiring, before.current) == held
            return replace(
                now,
                next_since=before.next_since if before and coming else uptime,
                retiring_since=before.retiring_since if before and retiring else uptime,
            )
        case _:
            return now


def _since(now: Iterable[K], before: Mapping[K, float], uptime: float) -> Mapping[K, float]:
    return {each: before.get(each, uptime) for each in now} or _NONE


def _deliveries(secret: IdentitySecret) -> Iterable[ListedDelivery]:
    """Return the deliveries that a target lists. Only targets have keys; no others are parsed."""
    if WEBHOOK_KEYS not in secret.public:
        return ()
    return deliveries_in(secret.public.get(IDENTITY_JSON, ""))


def _webhook_keys(secret: IdentitySecret) -> Iterable[str]:
    return key_ids_in(secret.public.get(WEBHOOK_KEYS, ""))
