"""Users delete what Troth just wrote, or its owner, before Troth has the answer to its write.

Troth writes a deleted object again, and leaves nothing of an owner that is gone. When the owner is
declared again, the end is the same as without its deletion. A fresh operator has nothing to write.

`make test` deletes after the first write of every object; `make campaign` after each single write.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from tests.campaign.judges.declared import identity_of
from tests.cluster.crashes import acts, webhook_acts
from tests.cluster.crashes.comparison import name_of
from tests.cluster.crashes.crash_points import CrashPoint
from tests.cluster.crashes.operators import Task
from tests.cluster.crashes.play import NO_CRASH, Act, Outcome, Play
from tests.cluster.crashes.playing import playing, without_crash, without_errors
from tests.cluster.faults.deletions.cache import is_in_step
from tests.cluster.faults.deletions.deletions import (
    AUTHORITY_SUFFIX,
    DeletingPath,
    Deletion,
    EachOnce,
    Order,
    Place,
    owner_of,
    place_of,
)
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.stage import IDENTITY, Stage
from troth.reconcile.drift.backoff import QUIET
from troth.reconcile.loop.engine import Engine
from troth.resources.references import Ref
from troth.world.facts.objects import REPLACED_AT

THOROUGH = settings.get_current_profile_name() == "thorough"


async def declare_everything(play: Play) -> None:
    await acts.begin_tokens(play)
    await declare_webhooks(play)


async def declare_webhooks(play: Play) -> None:
    await webhook_acts.declare_webhooks(play)
    await let_targets_read(play)


async def change_webhooks(play: Play) -> None:
    await webhook_acts.change_webhooks(play)
    await let_targets_read(play)


async def let_targets_read(play: Play) -> None:
    """Let time pass until the targets of webhooks have read their files."""
    for _ in range(2):
        await play.calm()
        await play.operator.live(play.operator.propagation)


async def delete_everything(play: Play) -> None:
    await webhook_acts.delete_webhooks(play)
    await acts.delete_domain(play)
    await acts.clear(play)


ROUNDS = {
    "everything": (declare_everything, delete_everything),
    "changed and changed back": (acts.change, acts.change_back),
    "certificate rotated": (acts.rotate_leaf,),
    "root rotated": (acts.rotate_root,),
    "tokens begun and ended": (acts.begin_tokens, acts.rotate_keys, acts.end_tokens),
    "webhooks": (
        declare_webhooks,
        change_webhooks,
        webhook_acts.delete_webhooks,
    ),
    "created and deleted": (acts.create, acts.delete_identity, acts.delete_domain, acts.clear),
}
"""Acts that end in the state in which they begin."""
OWNERS_STAY = {
    *(
        declare_everything,
        acts.create,
        acts.change,
        acts.change_back,
        acts.rotate_leaf,
        acts.begin_tokens,
    ),
    *(acts.end_tokens, declare_webhooks, change_webhooks),
}
"""Acts during which an owner can be deleted: they neither delete it nor wait for it."""
DELETIONS = [
    *(Deletion(order) for order in (Order.ANSWER, Order.DELETION)),
    *(Deletion(order, owner=True, again=again) for order in Order for again in (False, True)),
]
SOME = (
    Deletion(Order.DELETION),
    Deletion(Order.COLLECTION, owner=True),
)
"""Deletions of `make test`, in a round of everything."""
PACE = timedelta(seconds=30)
"""Time that passes between two looks at the end of an act, which may take minutes."""
REPLACED = (
    f" {REPLACED_AT}: never became (a time)",
    f" {REPLACED_AT}: (a time) became never",
    "reason: Active became TokenKeyReplaced",
    "verifiers reject tokens of the previous one, and callers get new ones within minutes",
)
"""Ends of the differences that report a deleted key or certificate, which was replaced."""


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    with without_errors():
        yield


def engine_of(play: Play) -> Engine:
    assert isinstance(play.operator, Task)
    return play.operator._copy.operator.engine


def is_gone(play: Play, place: Place, version: int) -> bool:
    """Return whether the operator knows an object to be gone at a version."""
    return engine_of(play).world._versions.gone_at(*place) >= version


def path_of(play: Play) -> DeletingPath:
    assert isinstance(play.path, DeletingPath)
    return play.path


def points(deletion: Deletion) -> Iterator[CrashPoint]:
    """Yield the writes that are followed by a deletion, one point for each run of a round."""
    yield EachOnce()
    if not THOROUGH:
        return
    if deletion.owner and deletion.order is not Order.COLLECTION:
        yield EachOnce(statuses=True)
    yield from map(CrashPoint, count(1))


@pytest.mark.parametrize("name", ROUNDS if THOROUGH else ["everything"])
@pytest.mark.long
async def test_deletion_before_the_answer_ends_as_declared(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    round_ = ROUNDS[name]
    async with playing(stage, tmp_path, kind=DeletingPath) as play:
        play.pace = PACE
        play.forgives = lambda difference: difference.endswith(REPLACED)
        path_of(play).joined_by(stage.person, partial(is_gone, play))
        if declare_everything not in round_ and acts.create not in round_:
            assert not (await play.act(acts.create)).faults
        ends = await without_crash(play, round_, times=2 if THOROUGH else 1)
        for deletion in DELETIONS if THOROUGH else SOME:
            path_of(play).deletion = deletion
            for point in points(deletion):
                writes = [await played(play, act, point, ends[act]) for act in round_]
                if not point.relentless and max(writes) < point.write:
                    break


async def played(play: Play, act: Act, point: CrashPoint, end: Outcome) -> int:
    """Play an act with a deletion and judge its end; return the number of writes."""
    path = path_of(play)
    spared = path.deletion.owner and act not in OWNERS_STAY
    if not path.deletion.owner:  # otherwise these deletions look like those of another controller
        await play.operator.live(timedelta(seconds=QUIET + 1))
        await play.calm()
    rests = path.deletion.owner and not path.deletion.again and not spared
    outcome = await play.act(act, NO_CRASH if spared else point, like=None if rests else end)
    deleted, told = list(path.deleted), f"in {act.__name__}, {path.deletion}, {point}:"
    faults = [each for each in outcome.faults if not is_expected(each, path)]
    if rests:
        await leaves_nothing(play)
        outcome = await play.act(declared_again(deleted), like=end)
        faults += [each for each in outcome.faults if not is_expected(each, path)]
    wrong = [*play.differences(end, outcome.normal), *faults]
    assert not wrong, "\n  ".join((told, *map(str, map(place_of, deleted)), *wrong))
    await leaves_nothing(play)
    assert isinstance(play.operator, Task)
    await is_in_step(play.operator._copy)
    secrets = {Ref.of(each) for each in await play.stage.person.all("Secret", play.stage.own)}
    assert engine_of(play)._keyring._secrets.keys() <= secrets
    return len(outcome.writes)


def is_expected(fault: str, path: DeletingPath) -> bool:
    """Return whether users caused a fault.

    They removed policies of declared identities. And Troth may write a policy until it has heard
    that its owner, or a peer of that, is deleted.
    """
    if path.deletion.owner and fault.endswith("was opened"):
        return True
    removed = (
        Ref.of(each) if path.deletion.owner else Ref(*identity_of(each))
        for each in path.deleted
        if each["kind"] == (IDENTITY if path.deletion.owner else "NetworkPolicy")
    )
    return fault in {f"the policy of {(each.namespace, each.name)} was removed" for each in removed}


def declared_again(deleted: Iterable[Manifest]) -> Act:
    """Return an act that declares deleted resources again, unless they are declared by now."""

    async def declare(play: Play) -> None:
        for each in deleted:
            if await play.stage.person.get(*place_of(each)) is None:
                await play.stage.person.put(play.stage.person.applied[place_of(each)])

    return declare


async def leaves_nothing(play: Play) -> None:
    """Wait until every object that Troth wrote has an owner."""

    async def orphans() -> list[str]:
        objects = await play.objects()
        uids = {place_of(each): each["metadata"]["uid"] for each in objects}
        return [name_of(each) for each in objects if not has_owner(each, uids)]

    await until(orphans, lambda found: not found, LONG)


def has_owner(manifest: Manifest, uids: Mapping[Place, str]) -> bool:
    """Return whether the owner exists; a root is kept without its trust domain."""
    owner = owner_of(manifest)
    if owner is None or owner not in uids:
        return place_of(manifest)[1].name.endswith(AUTHORITY_SUFFIX)
    references = manifest["metadata"].get("ownerReferences") or []
    return all(each["uid"] == uids[owner] for each in references)
