"""Every field of every CRD on a real API server: bad values, another value, and back.

For each field the API server rejects each value that its schema or a rule forbids, and leaves the
object unchanged. Troth refuses or waits for a value that conflicts or names nothing, and takes
another valid one. After the field is changed back, all objects and statuses equal those before.
Meanwhile no write opens or accepts more than the declarations of that moment (Acto: Gu et al.,
"Acto: Automatic End-to-End Testing for Operation Correctness of Cloud System Management",
SOSP 2023). The fields come from the CRDs; the effect of each is tested in memory, in
`tests/reconcile/test_field_walk.py`.

Fields whose effect takes hours, such as a rotation, are walked in memory alone.

`make test` takes some of the fields, and `make campaign` takes all.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from sandbox import Sandbox
from tests.builders import Manifest
from tests.cluster.agreement import check
from tests.cluster.conftest import separate_sandbox, with_crds
from tests.cluster.dry_run import DryRun
from tests.cluster.faults.field_walk.walking import Walk, walking
from tests.cluster.person import Refused, version
from tests.patience import PATIENCE
from tests.reconcile import fields, webhook_fields
from tests.reconcile.accounts import Account
from tests.reconcile.fields import Change, Field, all_fields, changed, example
from tests.reconcile.invalid import invalid, place_of
from tests.reconcile.refused import REFUSED
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.resources.schema.model import immutable_changes

THOROUGH = settings.get_current_profile_name() == "thorough"
WEBHOOK = "WebhookEndpoint"
STRIDE = 29
"""Interval of the fields that `make test` takes."""
CHANGES = {**fields.CHANGES, **webhook_fields.CHANGES}
AT_ONCE = [
    each
    for each in all_fields()
    if each.kind in KIND_BY_NAME and not CHANGES[str(each)].lives and not CHANGES[str(each)].rotated
]
BY_KIND = {kind: [each for each in AT_ONCE if each.kind == kind] for kind in sorted(KIND_BY_NAME)}
SOME = [each for each in AT_ONCE if each.kind != WEBHOOK][::STRIDE]
WALKS = BY_KIND if THOROUGH else {"some": SOME}


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """Yield a control plane for one walk, which declares cluster-wide objects of fixed names."""
    for started in separate_sandbox():
        yield with_crds(started)


def declared_for(kind: str) -> tuple[list[Manifest], list[Manifest], dict[str, Change]]:
    """Return a cluster's objects, those with fields, and the other values."""
    if kind == WEBHOOK:
        return webhook_fields.cluster(), webhook_fields.DECLARED, webhook_fields.CHANGES
    return fields.DECLARED, fields.DECLARED, fields.CHANGES


@pytest.mark.parametrize("kind", WALKS)
@pytest.mark.long
async def test_field_is_changed_and_changed_back(own_sandbox: Sandbox, kind: str) -> None:
    cluster, declared, changes = declared_for(kind)
    failures: list[str] = []
    async with walking(own_sandbox, cluster) as walk:
        assert not await walk.judged()
        start = await walk.account()
        for each in WALKS[kind]:
            try:
                await _rejects(walk, each, changes[str(each)], declared)
                await _walk(walk, each, changes[str(each)], declared, start)
            except (AssertionError, Refused) as failure:
                failures.append(f"{each}: {failure}")
                start = await walk.account()  # a trace is reported once
    assert not failures, "\n".join(failures)


async def _rejects(walk: Walk, of: Field, change: Change, declared: list[Manifest]) -> None:
    """Assert that the API server rejects each invalid value, with the field and what to write."""
    before, way = example(of, change, declared)
    stored = await walk.stage.person.the(of.kind, Ref.of(before))
    spoilt = list(invalid(of, change, declared))
    assert spoilt, "no value is rejected"
    with DryRun(walk.stage.sandbox.kubeconfig) as dry_run:
        for each in spoilt:
            answer = check(each, dry_run)
            assert not answer.accepted
            assert place_of(way) in str(answer.body["message"]), answer.body
    with pytest.raises(Refused):
        await walk.stage.person.put(spoilt[-1])
    after = await walk.stage.person.the(of.kind, Ref.of(before))
    assert version(after) == version(stored)


async def _walk(
    walk: Walk, of: Field, change: Change, declared: list[Manifest], start: Account
) -> None:
    """Make a change that Troth refuses, another that it takes, and undo both."""
    objects = await walk.objects()
    if str(of) in REFUSED:
        bad = REFUSED[str(of)]
        before, after = changed(of, bad, objects, declared)
        known = await walk.faults()
        await _change(walk, before, after)
        reasons = {reason for _, reason, _ in await walk.faults() - known}
        assert bad.refused in reasons, f"{bad.refused} is not among {reasons}"
        await _change(walk, after, before)
    before, after = changed(of, change, objects, declared)
    if not change.refused:  # the schema leaves no other value
        await _change(walk, before, after)
        await _change(walk, after, before)
    leaves = {"key", change.leaves}
    trace = await _trace(walk, start, leaves)
    faults = await walk.judged()
    assert not trace, f"it leaves a trace: {trace}"
    assert not faults, f"writes were wider than declared: {faults}"


async def _change(walk: Walk, before: Manifest, after: Manifest) -> None:
    parse: Any = KIND_BY_NAME[before["kind"]].model.parse
    changes = immutable_changes(parse(before).spec, parse(after).spec)
    await walk.change(before, after, immutable=bool(changes))


async def _trace(walk: Walk, start: Account, leaves: set[str]) -> dict[str, object]:
    """Return the parts that differ from the start, once they have had time to settle."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        now = await walk.account()
        trace: dict[str, object] = {
            str(part): (start.get(part), now.get(part))
            for part in start.keys() | now.keys()
            if part[0] not in leaves and start.get(part) != now.get(part)
        }
        if not trace or asyncio.get_running_loop().time() > deadline:
            return trace
        await asyncio.sleep(0.2)
