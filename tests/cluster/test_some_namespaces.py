"""Troth that watches several namespaces, at a real API server."""

from tests.cluster.stage import IDENTITY, Stage
from troth.cluster.connection.connecting import CONNECTIONS


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
