"""A broker in Observe or Plan mode: the status counts the changes, and Troth makes none."""

import pytest

from tests.broker_builders import CHECKOUT, FULFILMENT, MAIN, give_credentials, market, see
from tests.messaging import KAFKA, broker
from troth.world.keys import broker_key

BY_CERTIFICATE = {"kafka": KAFKA["kafka"] | {"clients": "MTLS"}}


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
@pytest.mark.parametrize("described", [KAFKA, BY_CERTIFICATE], ids=["SCRAM", "MTLS"])
def test_missing_grants_are_counted_without_any_credential(
    mode: str, described: dict[str, object]
) -> None:
    cluster = market(broker(mode=mode, described=described))
    see(cluster)
    plan = cluster.plan(broker_key(MAIN))
    assert plan.status is not None
    assert plan.status["missingGrants"] == 3  # write; read, with a group
    assert not plan.steps
    assert cluster.condition(broker_key(MAIN), "InSync")["reason"] == "NotEnforced"


def test_policy_needs_its_finalizer_before_grants_count_if_enforced() -> None:
    cluster = market()
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    see(cluster)
    plan = cluster.plan(broker_key(MAIN))
    assert plan.status is not None
    assert "missingGrants" not in plan.status
