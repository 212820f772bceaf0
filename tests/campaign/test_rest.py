"""A campaign comes to rest only after a contested object is reported as settled."""

import copy

from tests import builders, virtual_time
from tests.campaign.people import open_wide
from tests.campaign.stages.stage import Stage
from troth.reconcile.drift.backoff import FREE
from troth.resources.references import Ref
from troth.world.facts.objects import FIGHTING

POLICY = "NetworkPolicy", Ref("north", "a-troth")
IDENTITY = "ServiceIdentity", Ref("north", "a")


async def _fight_and_rest() -> None:
    stage = Stage()
    declared = (
        builders.namespace("north", domain="red"),
        builders.domain("red", namespaceSelector={"matchLabels": {"domain": "red"}}),
        builders.identity("a", "north"),
    )
    for manifest in declared:
        stage.server.put(manifest)
    stage.history.begin(stage.server.objects, stage.clock.now())
    await stage.begin_copy()
    await stage.calm()
    for _ in range(2 * FREE):
        policy = copy.deepcopy(stage.server.objects[POLICY])
        open_wide(policy)
        await stage.tamper(policy)
    ready = stage.server.condition(*IDENTITY, "Ready")
    assert ready["reason"] == FIGHTING
    await stage.calm()
    assert stage.server.condition(*IDENTITY, "Ready")["status"] == "True"
    await stage.end()


def test_contest_is_over_at_rest() -> None:
    virtual_time.run(_fight_and_rest())
