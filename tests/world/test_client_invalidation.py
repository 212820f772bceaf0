"""Every policy whose status depends on the clients of its broker is affected when they change."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.broker_builders import MAIN, declared_at, market, orders, publisher, see, subscriber
from tests.broker_builders import see_clients as take_clients
from tests.builders import Cluster
from tests.messaging import KAFKA, broker, consumer
from tests.strategies import half
from tests.world.broker_changes import some_clients
from tests.world.watching import Watch
from troth.brokers.clients import Clients, client_of
from troth.resources.references import Ref
from troth.world.facts.clients import COUNTS_FOR
from troth.world.index.guarded_policies import guarded_groups
from troth.world.keys import Key, policy_key

NAMES = ("orders", "returns", "plain")
KEYS = [policy_key(Ref("shop", name)) for name in NAMES]


def guarded_market() -> Cluster:
    """Return a shop with two policies that need the guard, and one that does not."""
    context = {"require": ["Actor"]}
    named = [consumer(name, name) for name in ("fulfilment", "packing")]
    cluster = market(
        publisher("checkout", *NAMES),
        subscriber("fulfilment", *NAMES),
        subscriber("packing", *NAMES),
        orders("orders", consumers=named, context=context),
        orders("returns", consumers=named[:1], context=context, topic={"name": "prod.returns"}),
        orders("plain", consumers=named, topic={"name": "prod.plain"}),
    )
    see(cluster.settle())
    return cluster


def plans(cluster: Cluster) -> dict[Key, Any]:
    return {key: cluster.plan(key) for key in KEYS}


@given(st.data())
def test_policy_is_affected_when_its_plan_changes(data: st.DataObject) -> None:
    cluster = guarded_market()
    watch = Watch(cluster, plans)
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(half):
            cluster.uptime += data.draw(st.sampled_from((60.0, COUNTS_FOR)))
            watch.look_anew()
        found = some_clients(data, cluster, declared_at(cluster))
        watch(f"{found}", take_clients, cluster, found)
    watch.assert_like_afresh()


def test_groups_of_policies_that_need_the_guard_are_looked_at() -> None:
    brokers = guarded_market().world.brokers
    assert guarded_groups(brokers, MAIN) == frozenset({"fulfilment", "packing"})
    assert guarded_groups(brokers, Ref("messaging", "other")) is None
    assert guarded_groups(market().world.brokers, MAIN) is None


def test_broker_that_is_replaced_has_no_clients() -> None:
    cluster = guarded_market()
    take_clients(cluster, Clients(frozenset({client_of("x", group="packing")})))
    assert cluster.world.brokers.observation(MAIN).clients is not None
    elsewhere = {"kafka": {**KAFKA["kafka"], "bootstrapServers": ["elsewhere:9093"]}}
    cluster.put(broker(described=elsewhere))
    assert cluster.world.brokers.observation(MAIN).clients is None
