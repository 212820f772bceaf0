"""How full documents are, as Prometheus scrapes it."""

import pytest

from tests.broker_builders import MAIN, market
from tests.broker_plans import settled
from tests.builders import Cluster, accept, call, identity, shop
from tests.messaging import broker
from troth.cli.run.document_metrics import document_metrics
from troth.planning.identity.secret import manifest as secret_manifest
from troth.planning.network import compiler, live_peers
from troth.planning.owned_objects import broker_policy_ref, policy_ref, secret_ref
from troth.resources.references import Ref

WEB = Ref("shop", "web")
PEERS = [f"api-{number}" for number in range(3)]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Return a caller with three callees, whose documents are written."""
    callees = [identity(name, ports=["https"], accepts=[accept("web")]) for name in PEERS]
    return shop(identity("web", calls=list(map(call, PEERS))), *callees).settle()


def fills(cluster: Cluster) -> dict[tuple[str, ...], float]:
    """Return the fill of each document, by its kind and place."""
    (family,) = document_metrics(cluster.world)
    return {tuple(each.labels.values()): each.value for each in family.samples}


def test_documents_of_identities_that_are_far_from_full_have_no_sample(cluster: Cluster) -> None:
    assert fills(cluster) == {}


def test_secret_of_an_identity_has_a_sample_once_it_is_half_full(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = cluster.world.secrets[secret_ref(WEB)].public
    size = sum(map(len, public.values()))
    monkeypatch.setattr(secret_manifest, "MOST", size * 2)
    assert fills(cluster)["identity", *WEB] == 0.5
    monkeypatch.setattr(secret_manifest, "MOST", size * 2 + 1)
    assert ("identity", *WEB) not in fills(cluster)


def test_network_policy_is_as_full_as_its_rules_or_its_list_of_peers(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = cluster.world.policies[policy_ref(WEB)]
    monkeypatch.setattr(live_peers, "LIMIT", len(policy.live_peers))
    assert fills(cluster)["network-policy", *WEB] == 1
    monkeypatch.setattr(compiler, "MOST", len(policy.text) // 2)
    assert fills(cluster)["network-policy", *WEB] >= 2


def test_network_policy_of_a_broker_has_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = {"podSelector": {"matchLabels": {"app": "kafka"}}}
    workload = pods | {"ports": [{"name": "clients", "port": 9093}]}
    cluster = settled(market(broker(workload=workload)))
    policy = cluster.world.policies[broker_policy_ref(MAIN)]
    monkeypatch.setattr(compiler, "MOST", len(policy.text) * 4)
    assert fills(cluster)["broker-network-policy", *MAIN] == 0.25
