"""Troth that watches several namespaces, at a real API server."""

from datetime import timedelta

import pytest

from tests import messaging
from tests.cluster import chart
from tests.cluster.person import LONG
from tests.cluster.stage import IDENTITY, Stage
from troth.cluster.connection.connecting import CONNECTIONS
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.resources.references import Ref


async def test_operator_leads_with_more_watches_than_connections(stage: Stage) -> None:
    namespaces = [await stage.namespace() for _ in range(6)]
    await stage.install_for(*namespaces)
    await stage.domain()
    copy = await stage.run()
    assert len(copy.operator.informers) > CONNECTIONS
    assert copy.operator.ready
    for namespace in namespaces:
        await stage.person.ready(IDENTITY, await stage.identity("payments", namespace))
    assert copy.operator.leadership.acting


@pytest.mark.long
async def test_namespaces_that_are_not_listed_are_deleted(stage: Stage) -> None:
    """One was taken off the list, and the other lost its Role before the operator started."""
    person = stage.person
    unwatched, unlisted = await stage.namespace(), await stage.namespace()
    await stage.install_for(stage.shop, unlisted)
    limits = chart.finalizer_policy(stage.name)
    await chart.install(person, limits)
    stage.installed += limits  # deleted with the rest
    held = [
        make("main", namespace)
        for namespace in (unwatched, unlisted)
        for make in (messaging.broker, messaging.policy)
    ]
    for each in held:
        each["metadata"]["finalizers"] = [FINALIZER]
        await person.put(each)
    await person.delete("Namespace", Ref("", unlisted))
    await person.misses("Role", Ref(unlisted, f"{stage.own}-operator"))
    await stage.domain()
    copy = await stage.run()
    await person.delete("Namespace", Ref("", unwatched))
    for each in held:
        await person.sees(
            each["kind"], Ref.of(each), lambda found: "deletionTimestamp" in found["metadata"]
        )
    known = copy.operator.engine.world.brokers.everything()
    assert unwatched not in {key.ref.namespace for key in known}
    await stage.later(PATIENCE + timedelta(minutes=1))
    for namespace in (unwatched, unlisted):
        await person.misses("Namespace", Ref("", namespace), LONG)
