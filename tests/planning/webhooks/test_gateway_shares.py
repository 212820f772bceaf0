"""What a target takes in a gateway's documents, and an endpoint whose target has no room there."""

import pytest

from tests import builders
from tests.builders import Cluster, Manifest, identity, key_of
from tests.webhook_builders import endpoint
from tests.webhook_scene import GATEWAY, HOOKS, accepts_gateway, scene
from troth.planning.identity.secret import manifest as secret_manifest
from troth.planning.network import compiler, live_peers
from troth.resources.references import Ref
from troth.trust.declarations import gateway_loads
from troth.trust.declarations.gateway_loads import load_of
from troth.world.keys import webhook_key

PORTS = [(f"port-{number:010}", 60_000 + number) for number in range(16)]
LABEL = f"{'d' * 253}/{'k' * 63}"
LARGE = {
    "matchLabels": {"app": "v" * 63, LABEL: "v" * 63},
    "matchExpressions": [{"key": LABEL, "operator": "NotIn", "values": ["w" * 63] * 8}] * 8,
}
TOKEN = {"token": {"audience": f"https://{'a' * 230}.example"}}


def second(*ports: tuple[str, int], name: str = "second", **spec: object) -> list[Manifest]:
    """Return a target with ports, and the endpoints that lead there."""
    names = [port for port, _ in ports]
    declared: Manifest = {"ports": ports, "accepts": [accepts_gateway(*names)]}
    to = {"identity": {"name": name}, "path": "/events", "workflow": "settle"}
    ways = [endpoint(f"e-{port}", target={**to, "port": port}) for port in names]
    return [identity(name, **declared | spec), *ways]


def sizes(cluster: Cluster) -> tuple[int, int, int]:
    """Return the bytes of the gateway's Secret, rules and list of live peers."""
    at = Ref(GATEWAY, GATEWAY)
    secret = cluster.world.secrets[Ref(at.namespace, f"{at.name}-identity")]
    policy = cluster.world.policies[Ref(at.namespace, f"{at.name}-troth")]
    return sum(map(len, secret.public.values())), len(policy.text), len(policy.live_peers)


@pytest.mark.parametrize(
    "more",
    [
        second((HOOKS, 9443)),
        second(*PORTS),
        second((HOOKS, 9443), name="s" * 63, account="a" * 63),
        second((HOOKS, 9443), pods=LARGE),
        second((HOOKS, 9443), authentication=TOKEN),
    ],
    ids=["plain", "ports", "names", "selector", "audience"],
)
def test_load_covers_what_a_target_takes_in_each_document(more: list[Manifest]) -> None:
    issuing = builders.domain(tokens={})
    secrets = builders.authority_secret(), builders.tokens_secret()
    cluster = Cluster.of(*secrets, *scene(issuing)).settle()
    before = sizes(cluster)
    for manifest in more:
        cluster.put(manifest)
    after = sizes(cluster.settle())
    target = builders.parsed_identity(more[0])
    ports = frozenset(port.name for port in target.spec.workload.ports)
    weight = load_of(target.ref, target, ports).weight
    limits = gateway_loads.DOCUMENT, gateway_loads.RULES, gateway_loads.PEERS
    for old, new, limit in zip(before, after, limits, strict=True):
        assert 0 < new - old <= weight * limit / 1_000_000


def test_room_is_that_of_the_documents() -> None:
    assert gateway_loads.DOCUMENT == secret_manifest.MOST
    assert gateway_loads.RULES == compiler.MOST
    assert gateway_loads.PEERS == live_peers.LIMIT


def test_endpoint_whose_target_has_no_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster.of(builders.authority_secret(), *scene(*second((HOOKS, 9443)))).settle()
    key = webhook_key(Ref("shop", f"e-{HOOKS}"))
    monkeypatch.setattr(gateway_loads, "ROOM", 500)
    cluster = Cluster.of(*cluster.objects.values()).settle()
    reachable = cluster.condition(key, "TargetReachable")
    assert (reachable["status"], reachable["reason"]) == ("False", "ShareExceeded")
    agreed = cluster.condition(key_of("second"), "PeersAgree")
    assert (agreed["status"], agreed["reason"]) == ("False", "ShareExceeded")
    assert cluster.condition(key_of("payments"), "PeersAgree")["status"] == "True"
    egress = cluster.objects["NetworkPolicy", Ref(GATEWAY, f"{GATEWAY}-troth")]["spec"]["egress"]
    assert "second" not in str(egress)
    assert "payments" in str(egress)
