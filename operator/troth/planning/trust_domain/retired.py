"""Retired roots and token keys that still verify events, because messages outlive them.

A normal retirement moves the root or key into the records of the Secret of its successor, in one
write. A compromised one is never recorded, and a record that is declared compromised later is
removed. The trust bundle for events has each record until the longest `maxAge` has passed since its
retirement. The Secret keeps it for the longest age that a policy can set, so that a policy that is
unreadable, or deleted and created again, loses nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from troth.pki.certificates.leaf import short
from troth.planning.moment import Moment
from troth.planning.steps.authorities import UpdateRetired
from troth.planning.trust_domain.facts import RotationView
from troth.planning.trust_domain.rotations import Rotations, is_compromised, is_root_compromised
from troth.resources.messaging.event_age import (
    DEFAULT_AGE,
    LONGEST_AGE,
    event_age,
    namespaces_of,
)
from troth.resources.trust_domain.status import RetiredStatus
from troth.world.facts.objects import (
    AuthoritySecret,
    KnownAuthority,
    RetiredKey,
    RetiredRoot,
    TokensSecret,
)
from troth.world.observation.retired import (
    MOST_ENTRY_BYTES,
    MOST_KEYS,
    MOST_ROOTS,
    RETIRED,
    entry_size,
    keys_document,
    roots_document,
)
from troth.world.observation.signing_keys import ISSUERS

R = TypeVar("R", RetiredRoot, RetiredKey)


def events_age(view: RotationView) -> timedelta:
    """Return the maximum age of events that workloads of a trust domain produce or consume.

    An unreadable policy may have any age, and any producers and consumers. Its grants stay.
    Policies of a namespace without a list are unknown, too.
    """
    registry, messaging = view.registry, view.messaging
    if messaging.invalid_policies or registry.unlisted_ones():
        return LONGEST_AGE
    ages = (
        event_age(policy)
        for policy in messaging.policies.values()
        if any(
            registry.governance(namespace).domain is view.domain
            for namespace in namespaces_of(policy)
        )
    )
    return max((DEFAULT_AGE, *ages))


def roots_for_events(view: RotationView) -> tuple[RetiredRoot, ...]:
    """Return the retired roots of a trust domain that verify events, oldest first."""
    return _verifying(_kept(_roots(view), view.rotations, view.moment), view)


def keys_for_events(view: RotationView) -> tuple[RetiredKey, ...]:
    """Return the retired token keys of a trust domain that verify events, oldest first."""
    return _verifying(_kept(_keys(view), view.rotations, view.moment), view)


def is_full(view: RotationView) -> bool:
    """Return whether there is no room for one more record beside those that verify events."""
    authority, tokens = view.own_authority, view.own_tokens
    roots, keys = roots_for_events(view), keys_for_events(view)
    return (authority is not None and _leaves_no_room(roots, authority.secret.retired)) or (
        tokens is not None and _leaves_no_room(keys, tokens.retired)
    )


def _leaves_no_room(verifying: tuple[R, ...], stored: tuple[R, ...] | None) -> bool:
    if not verifying or stored is None or len(verifying) < len(stored):
        return False  # the oldest ones are not needed any more
    most = MOST_ROOTS if isinstance(verifying[-1], RetiredRoot) else MOST_KEYS
    size = sum(map(entry_size, verifying))
    return len(verifying) >= most or size + entry_size(verifying[-1]) > MOST_ENTRY_BYTES


def statuses(records: Iterable[RetiredRoot | RetiredKey]) -> tuple[RetiredStatus, ...]:
    """Return records as the status shows them."""
    return tuple(
        RetiredStatus(fingerprint=short(each.fingerprint), retired_at=each.retired_at)
        for each in records
    )


def root_ends(view: RotationView) -> Iterator[datetime]:
    """Yield when each retired root leaves the trust bundle for events, and its Secret."""
    yield from _ends(_roots(view), view)


def key_ends(view: RotationView) -> Iterator[datetime]:
    """Yield when each retired token key leaves the trust bundle for events, and its Secret."""
    yield from _ends(_keys(view), view)


def _ends(records: tuple[R, ...], view: RotationView) -> Iterator[datetime]:
    if records:
        for age in (events_age(view), LONGEST_AGE):
            yield from (view.moment.over_at(each.retired_at + age) for each in records)


# The steps


def retire_root(
    known: KnownAuthority, slots: tuple[str, ...], rotations: Rotations, moment: Moment
) -> UpdateRetired:
    """Return the step that removes the retiring CA, and records it unless it is compromised."""
    retiring = known.retiring
    assert retiring is not None
    added = RetiredRoot(retiring.fingerprint, moment.now, retiring.anchors)
    secret = known.secret
    return _root_step(secret, slots, _kept((*(secret.retired or ()), added), rotations, moment))


def retire_key(known: TokensSecret, rotations: Rotations, moment: Moment) -> UpdateRetired:
    """Return the step that removes the retiring key, and records it unless it is compromised."""
    assert known.retiring is not None
    records = (*(known.retired or ()), RetiredKey(known.retiring, moment.now))
    return _key_step(known, (ISSUERS.retiring,), _kept(records, rotations, moment))


def tidy_roots(view: RotationView) -> UpdateRetired | None:
    """Return the step that removes records of roots that must not stay, None without any."""
    known = view.own_authority
    if known is None:
        return None
    kept = _kept(known.secret.retired or (), view.rotations, view.moment)
    return _root_step(known.secret, (), kept) if kept != known.secret.retired else None


def tidy_keys(view: RotationView) -> UpdateRetired | None:
    """Return the step that removes records of keys that must not stay, None without any."""
    known = view.own_tokens
    if known is None:
        return None
    kept = _kept(known.retired or (), view.rotations, view.moment)
    return _key_step(known, (), kept) if kept != known.retired else None


def _root_step(
    secret: AuthoritySecret, slots: tuple[str, ...], kept: tuple[RetiredRoot, ...]
) -> UpdateRetired:
    dropped = (*slots, *_unneeded(secret.retired, kept))
    place = secret.ref, secret.uid, secret.resource_version
    return UpdateRetired(*place, dropped, roots_document(kept))


def _key_step(
    secret: TokensSecret, slots: tuple[str, ...], kept: tuple[RetiredKey, ...]
) -> UpdateRetired:
    dropped = (*slots, *_unneeded(secret.retired, kept))
    place = secret.ref, secret.uid, secret.resource_version
    return UpdateRetired(*place, dropped, keys_document(kept))


def _unneeded(before: tuple[R, ...] | None, kept: tuple[R, ...]) -> tuple[str, ...]:
    """Return the name of the records if they exist and none of them is kept."""
    return (RETIRED,) if before != () and not kept else ()


# The records


def _roots(view: RotationView) -> tuple[RetiredRoot, ...]:
    known = view.own_authority
    return (known.secret.retired if known is not None else ()) or ()


def _keys(view: RotationView) -> tuple[RetiredKey, ...]:
    known = view.own_tokens
    return (known.retired if known is not None else ()) or ()


def _kept(records: Iterable[R], rotations: Rotations, moment: Moment) -> tuple[R, ...]:
    """Return the records to keep, oldest first: the last of each root or key, within the limits.

    If there are too many, the oldest are dropped: their events are the first to expire.
    """
    last: dict[str, R] = {}
    for each in sorted(records, key=lambda each: each.retired_at):
        last.pop(each.fingerprint, None)
        last[each.fingerprint] = each
    kept: list[R] = []
    room = MOST_ENTRY_BYTES
    for each in reversed(last.values()):
        over = moment.now >= moment.over_at(each.retired_at + LONGEST_AGE)
        if over or _is_compromised(each, rotations):
            continue
        room -= entry_size(each)
        if room < 0 or len(kept) == (MOST_ROOTS if isinstance(each, RetiredRoot) else MOST_KEYS):
            break
        kept.append(each)
    return tuple(reversed(kept))


def _is_compromised(record: RetiredRoot | RetiredKey, rotations: Rotations) -> bool:
    if isinstance(record, RetiredRoot):
        return is_root_compromised(record, rotations)
    return is_compromised(record.fingerprint, rotations)


def _verifying(kept: tuple[R, ...], view: RotationView) -> tuple[R, ...]:
    if not kept:  # the usual case costs nothing
        return ()
    age, moment = events_age(view), view.moment
    return tuple(each for each in kept if moment.now < moment.over_at(each.retired_at + age))
