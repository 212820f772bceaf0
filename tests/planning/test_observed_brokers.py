"""At a broker that is only looked at, it is told what would be done, and nothing is."""

import pytest

from tests.broker_builders import CHECKOUT, FULFILMENT, MAIN, give_credentials, market, see
from tests.messaging import KAFKA, broker
from troth.world.keys import broker_key

BY_CERTIFICATE = {"kafka": KAFKA["kafka"] | {"clients": "MTLS"}}


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
@pytest.mark.parametrize("described", [KAFKA, BY_CERTIFICATE], ids=["SCRAM", "MTLS"])
def test_what_would_be_granted_counts_though_nobody_has_a_credential_for_it(
    mode: str, described: dict[str, object]
) -> None:
    cluster = market(broker(mode=mode, described=described))
    see(cluster)
    plan = cluster.plan(broker_key(MAIN))
    assert plan.status is not None
    assert plan.status["missingGrants"] == 3  # to write; to read, with a group
    assert not plan.steps
    assert cluster.condition(broker_key(MAIN), "InSync")["reason"] == "NotEnforced"


def test_where_it_is_enforced_a_policy_is_held_before_anything_counts() -> None:
    cluster = market()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    see(cluster)
    plan = cluster.plan(broker_key(MAIN))
    assert plan.status is not None
    assert "missingGrants" not in plan.status
