"""Both kinds of node run Pods, and packets, handshakes and scopes match the declarations."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from sandbox import Sandbox, SandboxError, Tier
from sandbox.components import ADVERTISED, FIRST_SERVICE_ADDRESS
from sandbox.node.manifests import workload_pod, workload_spec
from sandbox.node.workload import Files, Mode, Outcome, Target
from tests.patience import PATIENCE
from tests.sandbox.identities import HOUR, TrustDomain, secret
from tests.sandbox.nodes import (
    addresses,
    apply,
    connects,
    is_ready,
    namespace,
    pods,
    policy,
    skip_without,
)
from tests.sandbox.observing import becomes

DOMAIN = TrustDomain("shop.test")
OTHER_DOMAIN = TrustDomain("elsewhere.test")
IMPOSTOR = TrustDomain("shop.test")  # the same name and another root
CERTIFICATE = ("tls.crt", "tls.key")
FAILURES_KEPT = 100  # limit of the workload's background calls

_numbers = count(1)


@pytest.fixture(scope="module", params=[Tier.PROCESS_PODS, Tier.NODE])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    skip_without(request.param)
    with Sandbox.start(tier=request.param) as started:
        yield started


@pytest.fixture
def space(sandbox: Sandbox) -> Iterator[str]:
    """Yield a namespace for the test."""
    name = f"test-{next(_numbers)}"
    apply(sandbox, namespace(name))
    yield name
    sandbox.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def pair(sandbox: Sandbox, space: str) -> Target:
    """Create the pods `orders` and `ledger`; return `ledger` as a target.

    `orders` may call it with the scope ledger.read.
    """
    orders, ledger = DOMAIN.spiffe_id(f"{space}/orders"), DOMAIN.spiffe_id(f"{space}/ledger")
    apply(
        sandbox,
        secret(
            space,
            "orders",
            DOMAIN.files(orders, calls={f"{space}/ledger": (ledger, ["https"])}),
        ),
        secret(space, "ledger", DOMAIN.files(ledger, accepts={orders: {"https": ["ledger.read"]}})),
        workload_pod(space, "orders", identity="orders", ports={"https": 8443}),
        workload_pod(
            space,
            "ledger",
            identity="ledger",
            ports={"https": 8443, "admin": 8444},
            plain={"web": 8080},
        ),
    )
    address = addresses(sandbox, space, ["orders", "ledger"])["ledger"]
    return Target(f"{address}:8443", port="https", service=f"{space}/ledger")


def call(sandbox: Sandbox, space: str, target: Target, present: Files | None = None) -> Outcome:
    return sandbox.node.workload(f"{space}/orders").call([target], present=present)[0]


@pytest.mark.long
def test_pod_status_is_reported(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "web", plain={"web": 8080}))
    address = addresses(sandbox, space, ["web"])["web"]
    pod = pods(sandbox, space)["web"]
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["containerStatuses"][0]["ready"]
    (outcome,) = sandbox.node.workload(f"{space}/web").call(
        [Target(f"{address}:8080", mode=Mode.PLAIN)]
    )
    assert outcome.server == "web"  # its host name


def test_pods_of_a_deployment_are_scheduled(sandbox: Sandbox, space: str) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": workload_spec(plain={"web": 8080})}
    apply(
        sandbox,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"namespace": space, "name": "web"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
    )
    sandbox.kubectl(
        "rollout", "status", "-n", space, "deployment/web", f"--timeout={PATIENCE:.0f}s"
    )


def test_network_policies_filter_packets(sandbox: Sandbox, space: str) -> None:
    other = f"{space}-ops"
    ports = {"web": 8080, "metrics": 9090}
    apply(
        sandbox,
        namespace(other, team="ops"),
        workload_pod(space, "web", labels={"app": "web"}, plain=ports),
        workload_pod(space, "db", labels={"app": "db"}, plain=ports),
        workload_pod(other, "scraper", plain=ports),
    )
    at = addresses(sandbox, space, ["web", "db"]) | addresses(sandbox, other, ["scraper"])
    near = "198.51.100.7"
    for name, address in (("near", near), ("far", "203.0.113.7")):
        sandbox.node.add_outsider(f"{space}-{name}", address, "--plain", "web=80")

    def table() -> dict[str, str]:
        callers = {"web": f"{space}/web", "scraper": f"{other}/scraper"}
        callers |= {name: f"{space}-{name}" for name in ("near", "far")}
        found = {
            f"{caller} to db:{port}": connects(sandbox, pod, at["db"], port)
            for caller, pod in callers.items()
            for port in (8080, 9090)
        }
        return found | {
            f"db to {name}": connects(sandbox, f"{space}/db", address, port)
            for name, address, port in (("web", at["web"], 8080), ("near", near, 80))
        }

    assert set(table().values()) == {"answered"}

    both = ["Ingress", "Egress"]
    from_ops = {"namespaceSelector": {"matchLabels": {"team": "ops"}}}
    apply(
        sandbox,
        policy(space, "deny", policyTypes=both),
        policy(
            space,
            "db",
            podSelector={"matchLabels": {"app": "db"}},
            policyTypes=both,
            ingress=[
                {"from": [from_ops], "ports": [{"port": "metrics"}]},  # a name, not a number
                {"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 8080}]},
            ],
            egress=[{"to": [{"ipBlock": {"cidr": "198.51.0.0/16"}}], "ports": [{"port": 80}]}],
        ),
    )
    sandbox.node.caught_up()
    opened = {"scraper to db:9090", "near to db:8080", "db to near"}
    assert table() == {pair: "answered" if pair in opened else "rejected" for pair in table()}
    sandbox.kubectl("delete", "namespace", other, "--wait=false")


def test_closed_port_and_packet_filter_are_told_apart(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "web", plain={"web": 8080}))
    address = addresses(sandbox, space, ["web"])["web"]
    assert connects(sandbox, f"{space}/web", address, 8081) == "closed"


def test_declared_call_is_answered_within_its_scopes(
    sandbox: Sandbox, space: str, pair: Target
) -> None:
    answered = call(sandbox, space, replace(pair, scope="ledger.read"))
    assert str(answered) == "answered"
    assert answered.server == DOMAIN.spiffe_id(f"{space}/ledger")
    assert answered.scopes == ("ledger.read",)
    refused = call(sandbox, space, replace(pair, scope="ledger.write"))
    assert str(refused) == 'scope "ledger.write" is not granted'


def test_server_rejects_in_the_handshake_with_an_alert(
    sandbox: Sandbox, space: str, pair: Target
) -> None:
    ledger, orders = (DOMAIN.spiffe_id(f"{space}/{name}") for name in ("ledger", "orders"))
    target = replace(pair, expect=ledger)

    def shown(domain: TrustDomain, spiffe_id: str, age: float = 0) -> dict[str, str]:
        files = domain.files(spiffe_id, age=HOUR * age)
        return {name: files[name] for name in CERTIFICATE}

    unaccepted = str(call(sandbox, space, replace(target, address=pair.address[:-1] + "4")))
    assert unaccepted == "handshake by server: bad certificate"  # on the port admin
    assert {
        "none": str(call(sandbox, space, replace(target, mode=Mode.TLS))),
        "a neighbour's": str(
            call(sandbox, space, target, present=shown(DOMAIN, DOMAIN.spiffe_id("shop/other")))
        ),
        "an expired one": str(call(sandbox, space, target, present=shown(DOMAIN, orders, age=2))),
        "another domain's": str(
            call(
                sandbox,
                space,
                target,
                present=shown(OTHER_DOMAIN, OTHER_DOMAIN.spiffe_id(f"{space}/orders")),
            )
        ),
        "the right ID of a wrong root": str(
            call(sandbox, space, target, present=shown(IMPOSTOR, orders))
        ),
    } == {
        "none": "handshake by server: certificate required",
        "a neighbour's": "handshake by server: bad certificate",
        "an expired one": "handshake by server: expired certificate",
        "another domain's": "handshake by server: unknown certificate authority",
        "the right ID of a wrong root": "handshake by server: unknown certificate authority",
    }


def test_client_rejects_another_callee(sandbox: Sandbox, space: str, pair: Target) -> None:
    ledger = DOMAIN.spiffe_id(f"{space}/ledger")
    server = sandbox.node.workload(f"{space}/ledger")

    def with_(domain: TrustDomain, spiffe_id: str, age: float = 0) -> str:
        files = domain.files(spiffe_id, age=HOUR * age)
        server.pose({name: files[name] for name in CERTIFICATE})
        return str(call(sandbox, space, pair))

    assert {
        "another's": with_(DOMAIN, DOMAIN.spiffe_id("shop/other")),
        "expired": with_(DOMAIN, ledger, age=2),
        "of a wrong root": with_(IMPOSTOR, ledger),
    } == {
        "another's": "handshake by client: wrong identity",
        "expired": "handshake by client: expired certificate",
        "of a wrong root": "handshake by client: unknown certificate authority",
    }
    server.pose(None)
    assert str(call(sandbox, space, pair)) == "answered"
    undeclared = call(sandbox, space, replace(pair, service=f"{space}/unknown"))
    assert str(undeclared) == "handshake by client: undeclared"


def test_tls_and_plain_ports_are_told_apart(sandbox: Sandbox, space: str, pair: Target) -> None:
    plain = replace(pair, mode=Mode.PLAIN)
    web = pair.address.replace("8443", "8080")
    assert str(call(sandbox, space, plain)) == "handshake by server: no TLS"
    assert str(call(sandbox, space, replace(pair, address=web))) == "handshake by client: no TLS"
    assert str(call(sandbox, space, replace(plain, address=web))) == "answered"


def test_changed_secret_takes_effect_on_open_connections_too(
    sandbox: Sandbox, space: str, pair: Target
) -> None:
    orders = sandbox.node.workload(f"{space}/orders")
    ledger = sandbox.node.workload(f"{space}/ledger")
    directory = ledger.root / "identity"
    before = (directory / "..data").readlink()
    assert str(orders.hold("kept", pair)) == "answered"

    spiffe_id = DOMAIN.spiffe_id(f"{space}/ledger")
    apply(sandbox, secret(space, "ledger", DOMAIN.files(spiffe_id)))  # accepts no caller

    document = directory / "identity.json"
    assert becomes(lambda: "orders" not in document.read_text(), seconds=60)
    assert (directory / "..data").readlink() != before
    assert str(call(sandbox, space, pair)) == "handshake by server: bad certificate"
    assert str(orders.again("kept")) == "handshake by server: not accepted"
    orders.release("kept")


@pytest.mark.long
def test_background_calls_are_counted_by_signing_root(
    sandbox: Sandbox, space: str, pair: Target
) -> None:
    orders, ledger = (sandbox.node.workload(f"{space}/{name}") for name in ("orders", "ledger"))
    named = {name: DOMAIN.spiffe_id(f"{space}/{name}") for name in ("orders", "ledger")}
    successor = TrustDomain(DOMAIN.name)
    both = DOMAIN.bundle + successor.bundle
    old, new = DOMAIN.key_id, successor.key_id

    def hold(name: str, domain: TrustDomain) -> None:
        calls = {f"{space}/ledger": (named["ledger"], ["https"])}
        accepts = {named["orders"]: {"https": ["ledger.read"]}}
        files = domain.files(named[name], accepts=accepts, calls=calls, bundle=both)
        apply(sandbox, secret(space, name, files))

    for name in named:
        hold(name, DOMAIN)
    assert becomes(lambda: both in (orders.root / "identity" / "ca.crt").read_text(), seconds=60)
    assert becomes(lambda: both in (ledger.root / "identity" / "ca.crt").read_text(), seconds=60)
    orders.storm([pair], rate=50)
    assert becomes(lambda: orders.tally().answered[old, old] > 10)
    assert str(orders.call([pair])[0]) == "answered"
    hold("ledger", successor)
    assert becomes(lambda: orders.tally().answered[old, new] > 10, seconds=60)
    hold("orders", successor)
    assert becomes(lambda: orders.tally().answered[new, new] > 10, seconds=60)
    with pytest.raises(SandboxError, match="a storm goes on already"):
        orders.storm([pair], rate=50)

    good = orders.tally()
    assert good.failures == ()
    assert set(good.answered) <= {(old, old), (old, new), (new, old), (new, new)}
    ledger.pose(IMPOSTOR.files(named["ledger"]))
    assert becomes(lambda: orders.tally().failed > FAILURES_KEPT)
    ledger.pose(None)
    bad = orders.calm().since(good)
    assert bad.failed > FAILURES_KEPT == len(bad.failures)
    assert "handshake by client: unknown certificate authority" in set(map(str, bad.failures))
    for ask in (orders.tally, orders.calm):
        with pytest.raises(SandboxError, match="no storm goes on"):
            ask()


def test_pod_waits_for_its_secret(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "early", identity="late", ports={"https": 8443}))
    with pytest.raises(SandboxError, match="early does not run"):
        sandbox.node.workload(f"{space}/early")
    apply(sandbox, secret(space, "late", DOMAIN.files(DOMAIN.spiffe_id(f"{space}/early"))))
    # The kubelet retries with a growing pause.
    assert becomes(lambda: is_ready(pods(sandbox, space)["early"]), seconds=60)


def test_pod_has_a_token_of_its_service_account(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "teller", token=True, plain={"web": 8080}))
    addresses(sandbox, space, ["teller"])
    root = sandbox.node.workload(f"{space}/teller").root
    files = root / "var/run/secrets/kubernetes.io/serviceaccount"
    assert (files / "namespace").read_text() == space
    assert "BEGIN CERTIFICATE" in (files / "ca.crt").read_text()
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": (files / "token").read_text()},
    }
    reviewed = sandbox.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    user = json.loads(reviewed)["status"]["user"]
    assert user["username"] == f"system:serviceaccount:{space}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["teller"]


def test_pods_reach_the_api_server_if_policies_allow_it(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "client", plain={"web": 8080}))
    addresses(sandbox, space, ["client"])
    slices = sandbox.kubectl("get", "endpointslice", "kubernetes", "-o", "json")
    port = json.loads(slices)["ports"][0]["port"]
    where = ((ADVERTISED, port), (FIRST_SERVICE_ADDRESS, 443))  # the endpoint, and the Service

    def reached() -> list[str]:
        return [connects(sandbox, f"{space}/client", *each) for each in where]

    assert reached() == ["answered", "answered"]
    apply(sandbox, policy(space, "deny", policyTypes=["Egress"]))
    sandbox.node.caught_up()
    assert reached() == ["rejected", "rejected"]
    endpoint = {"to": [{"ipBlock": {"cidr": f"{ADVERTISED}/32"}}], "ports": [{"port": port}]}
    apply(sandbox, policy(space, "allow", policyTypes=["Egress"], egress=[endpoint]))
    sandbox.node.caught_up()
    assert reached() == ["answered", "answered"]


def test_recreated_pod_has_a_new_workload(sandbox: Sandbox, space: str) -> None:
    apply(sandbox, workload_pod(space, "web", plain={"web": 8080}))
    addresses(sandbox, space, ["web"])
    first = sandbox.node.workload(f"{space}/web").process
    sandbox.kubectl("delete", "pod", "-n", space, "web")
    apply(sandbox, workload_pod(space, "web", plain={"web": 8080}))
    addresses(sandbox, space, ["web"])
    assert sandbox.node.workload(f"{space}/web").process != first


def test_node_survives_a_crash_of_the_api_server(sandbox: Sandbox, space: str) -> None:
    sandbox.stop_api_server(grace=0)
    sandbox.start_api_server()
    apply(sandbox, workload_pod(space, "web", plain={"web": 8080}))
    addresses(sandbox, space, ["web"])
