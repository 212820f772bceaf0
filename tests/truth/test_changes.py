"""What becomes of the ways between pods when labels, identities, domains and operators change.

Nothing is ever open that is allowed neither before nor after a change.
"""

import asyncio

import pytest

from tests import builders
from tests.cluster.person import LONG
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of
from tests.truth.scene import Player, Scene, files_of
from troth.planning.children import policy_ref, secret_ref
from troth.resources.references import Ref

REJECTED = "network rejected"
NOT_GRANTED = 'scope "refund" is not granted'
NOT_A_PEER = "handshake by server: bad certificate"
UNDECLARED = "handshake by client: undeclared"
UNKNOWN_ROOT = "unknown certificate authority"


async def shop(stage: Stage) -> Scene:
    """web may call payments and search, payments may call ledger; and there are two strangers."""
    await stage.domain(federatesWith=[])
    await stage.run()
    web = await stage.identity("web", calls=[builders.call("payments"), builders.call("search")])
    payments = await stage.identity(
        "payments",
        ports=["https"],
        accepts=[builders.accept("web", scopes=["charge"])],
        calls=[builders.call("ledger")],
    )
    ledger = await stage.identity(
        "ledger", ports=["https"], accepts=[builders.accept("payments", scopes=["book"])]
    )
    search = await stage.identity("search", ports=["https"], accepts=[builders.accept("web")])
    identities = (web, payments, ledger, search)
    for identity in identities:
        await stage.person.ready(IDENTITY, identity)
    scene = Scene(stage)
    await scene.enter(
        *map(Player.of, identities),
        Player(stage.shop, "stranger", {"app": "unknown"}),
        Player(await stage.namespace(label="none"), "foreigner", {"app": "web"}),
    )
    return scene


async def test_a_pod_has_the_reach_of_an_identity_for_as_long_as_it_has_its_labels(
    stage: Stage,
) -> None:
    scene = await shop(stage)
    await scene.enter(Player(stage.shop, "spare", {"app": "retired"}, identity="payments"))
    without = await scene.as_declared()
    assert await scene.call("spare", "ledger") == REJECTED
    assert await scene.call("web", "spare") == REJECTED
    assert await scene.connect("stranger", "spare") == "answered"

    async with scene.nothing_else_opens():
        await scene.relabel("spare", app="payments")
    assert await scene.call("spare", "ledger", scope="book") == "answered"
    assert await scene.call("web", "spare", scope="charge") == "answered"
    assert await scene.call("web", "spare", scope="refund") == NOT_GRANTED
    for one, other in (("stranger", "spare"), ("spare", "stranger"), ("spare", "search")):
        assert await scene.connect(one, other) == REJECTED

    async with scene.nothing_else_opens():
        await scene.relabel("spare", app="retired")
    assert await scene.reach() == without
    assert await scene.call("spare", "ledger") == REJECTED
    assert await scene.call("web", "spare") == REJECTED
