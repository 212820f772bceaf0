"""Faults of enforcers that Troth's policies avoid."""

import pytest

from tests import builders
from tests.cluster.stage import Stage
from tests.truth.scene import Player, Scene


@pytest.mark.long
async def test_unverified_peer_that_matches_the_replicas_does_not_connect_them(
    stage: Stage,
) -> None:
    """kube-router treats an ingress rule as an egress rule too if the policy selects both ends.

    So no rule for an unverified peer may select the workload itself.
    """
    await stage.domain()
    await stage.run()
    here = {"matchLabels": {"kubernetes.io/metadata.name": stage.shop}}
    payments = await stage.identity(
        "payments",
        ports=[("https", 8443)],
        accepts=[builders.unverified(namespaceSelector=here)],
    )
    await stage.person.ready("ServiceIdentity", payments)
    scene = Scene(stage)
    await scene.enter(
        Player.of(payments, "one"),
        Player.of(payments, "two"),
        Player(stage.shop, "stranger", {"app": "stranger"}),
    )
    await scene.as_declared()
    ways = await scene.reach()
    assert {"stranger to one:https", "stranger to two:https"} <= ways
    assert not {"one to two:https", "two to one:https"} & ways
