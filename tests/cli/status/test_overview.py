"""A bare `troth status` fits the whole cluster on one screen."""

import copy
import io
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from tests import builders
from tests.broker_builders import orders
from tests.builders import DAY, HOUR, NOW, YEAR, Manifest, gateway_only, stamp
from tests.cli.api_server import serving
from tests.cli.running import troth
from tests.messaging import broker
from tests.webhook_builders import endpoint
from troth.cli.output import WIDTH
from troth.cli.status.models import domain_summary, identity_summary
from troth.cli.status.overview import Overview, overview
from troth.cli.status.overview_render import MOST
from troth.cli.status.render import show
from troth.cli.status.report import Report
from troth.cli.status.webhook_models import endpoint_summary
from troth.resources.kinds import KINDS


def with_status(manifest: Manifest, ready: str = "InPlace", **status: object) -> Manifest:
    truth = "True" if ready == "InPlace" else "False"
    condition = {"type": "Ready", "status": truth, "reason": ready, "message": f"mend {ready}"}
    return manifest | {"status": {"conditions": [condition], **status}}


def edge(peer: str, direction: str, state: str = "Live", *ports: str) -> Manifest:
    told = {} if state == "Live" else {"reason": f"Because{state}", "message": f"mend {state}"}
    listed = list(ports or ("https",))
    return {"peer": peer, "direction": direction, "ports": listed, "state": state} | told


CERTIFICATE = {
    "fingerprint": "f" * 16,
    "authority": "a" * 16,
    "notAfter": stamp(NOW + DAY),
    "renewAt": stamp(NOW + 16 * HOUR),
}
PAYMENTS = with_status(
    builders.identity("payments", ports=["https"], accepts=[builders.accept("checkout")]),
    certificate=CERTIFICATE,
    edges=[
        edge("shop/checkout", "Inbound", "Live", "https", "admin"),
        edge("pods of ingress-nginx", "Inbound"),
        edge("shop/ledger", "Outbound", "AwaitingCallee"),
        edge("shop/web", "Inbound", "Refused"),
    ],
)
CHECKOUT = with_status(
    builders.identity("checkout"), edges=[edge("shop/payments", "Outbound", "Live")]
)
LEDGER = with_status(
    builders.identity("ledger"), edges=[edge("shop/payments", "Inbound", "AwaitingCallee")]
)
LEGACY = with_status(
    builders.identity("legacy", authentication=gateway_only("checkout", NOW + 5 * DAY)), "Fighting"
)
WEB = with_status(builders.identity("web"), "SharedIdentity")
DOMAIN = with_status(
    builders.domain(),
    authorities=[{"fingerprint": "a" * 16, "state": "Active", "notAfter": stamp(NOW + YEAR)}],
)
POLICY = with_status(
    orders(),
    grants=[
        {"identity": "shop/checkout", "action": "Publish", "state": "InSync"},
        {
            "identity": "shop/web",
            "action": "Consume",
            "state": "AwaitingIdentity",
            "reason": "PolicyNotNamed",
            "message": "add it to its consumes",
        },
    ],
)
BROKER = with_status(broker(), missingGrants=2, surplusGrants=0)
CLUSTER: Mapping[str, list[Manifest]] = {
    "TrustDomain": [DOMAIN],
    "ServiceIdentity": [PAYMENTS, CHECKOUT, LEDGER, LEGACY, WEB],
    "MessageBroker": [BROKER],
    "TopicPolicy": [POLICY],
    "WebhookEndpoint": [with_status(endpoint())],
    "CredentialRotation": [],
}


def overview_of(cluster: Mapping[str, list[Manifest]]) -> Overview:
    summaries = (
        *(domain_summary(each, [], complete=True) for each in cluster.get("TrustDomain", [])),
        *map(identity_summary, cluster.get("ServiceIdentity", [])),
        *map(endpoint_summary, cluster.get("WebhookEndpoint", [])),
    )
    return overview(cluster, summaries, cluster.get("ServiceIdentity", []))


def shown(cluster: Mapping[str, list[Manifest]]) -> list[str]:
    output = io.StringIO()
    domains = (domain_summary(each, [], complete=True) for each in cluster.get("TrustDomain", []))
    report = Report(
        trust_domains=tuple(domains),
        credential_rotations=(),
        service_identities=(),
        overview=overview_of(cluster),
        hidden=(),
    )
    show(Console(file=output, width=WIDTH), report, NOW, single=False, whole=True)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_overview_names_policies_with_clients_without_the_guard() -> None:
    message = "shop/web has no guard"
    bare = copy.deepcopy(POLICY)
    bare["status"]["conditions"].append(
        {
            "type": "EdgesValidated",
            "status": "False",
            "reason": "UnvalidatedConsumer",
            "message": message,
        }
    )
    lines = shown({**CLUSTER, "TopicPolicy": [bare]})
    place = lines.index("Unvalidated  1")
    assert lines[place + 1] == f"  TopicPolicy shop/orders  UnvalidatedConsumer: {message}"
    assert not [line for line in shown(CLUSTER) if line.startswith("Unvalidated")]


def test_overview_shows_what_is_live_and_what_needs_a_person() -> None:
    assert shown(CLUSTER) == [
        ("1 TrustDomain, 5 ServiceIdentities, 1 MessageBroker, 1 TopicPolicy, 1 WebhookEndpoint"),
        "Live  2 edges, 1 grant",
        "Half-declared  2",
        "  shop/payments → shop/ledger:https  BecauseAwaitingCallee: mend AwaitingCallee",
        (
            "  shop/web consumes under TopicPolicy shop/orders  PolicyNotNamed: add it to its "
            "consumes"
        ),
        "Rejected  2",
        "  shop/web → shop/payments:https  BecauseRefused: mend Refused",
        "  ServiceIdentity shop/web  SharedIdentity: mend SharedIdentity",
        "Drifting  2",
        "  ServiceIdentity shop/legacy  Fighting: mend Fighting",
        "  MessageBroker messaging/main  RulesDiffer: 2 missing rules",
        "Expiring next",
        (
            "  2027-03-06 12:00Z  ends in 5d               gateway-only trust of ServiceIdentity "
            "shop/legacy"
        ),
        (
            "  2027-03-02 12:00Z  renewed, expires in 24h  certificate of ServiceIdentity "
            "shop/payments"
        ),
    ]


def test_edge_that_both_sides_report_is_counted_once() -> None:
    found = overview_of(CLUSTER)
    assert len(found.half_declared) == 2
    assert found.live_edges == 2


def test_cluster_without_trouble_says_so() -> None:
    lines = shown({"TrustDomain": [DOMAIN], "ServiceIdentity": [CHECKOUT]})
    assert lines[2:5] == ["Half-declared  none", "Rejected  none", "Drifting  none"]


def test_empty_cluster_says_so() -> None:
    assert shown({}) == ["no resources found"]


def test_overview_of_a_large_cluster_fits_on_one_screen() -> None:
    many = [
        with_status(builders.identity(f"web-{number}"), "SharedIdentity") for number in range(500)
    ]
    until = NOW + timedelta(days=3)
    weak = [
        with_status(
            builders.identity(f"old-{number}", authentication=gateway_only("web", until)),
            edges=[edge(f"shop/web-{number}", "Inbound", "AwaitingCaller")],
        )
        for number in range(500)
    ]
    lines = shown({"ServiceIdentity": [*many, *weak]})
    assert len(lines) <= 5 + 3 * (MOST + 2) + 6
    assert f"  and {500 - MOST} more" in lines
    assert max(map(len, lines)) <= WIDTH


def test_rotation_in_progress_is_shown_below_the_overview() -> None:
    rotating = with_status(builders.domain(), rotation={"phase": "Reissuing"})
    lines = shown({"TrustDomain": [rotating]})
    assert lines[-2:] == [
        "TrustDomain production  ready",
        "  Idle → Preparing → Distributing → Activating → [Reissuing] → Retiring",
    ]


def test_status_of_a_newer_version_is_read() -> None:
    odd = builders.identity() | {"status": {"edges": [{"peer": "a/b"}], "conditions": []}}
    assert shown({"ServiceIdentity": [odd]})


def test_resource_that_troth_does_not_watch_is_not_ready_whatever_its_status_says(
    tmp_path: Path,
) -> None:
    domain = {**DOMAIN, "status": {**DOMAIN["status"], "watchedNamespaces": ["web"]}}
    cluster: dict[str, list[Manifest]] = {kind.plural: [] for kind in KINDS}
    cluster |= {"trustdomains": [domain], "serviceidentities": [CHECKOUT]}
    with serving(tmp_path, cluster) as served:
        ended = troth("status", "-o", "json", "--kubeconfig", str(served.kubeconfig))
    (found,) = json.loads(ended.output)["serviceIdentities"]
    assert (found["ready"], found["reason"]) == ("False", "NamespaceNotWatched")
    assert found["message"].startswith("Troth does not watch namespace shop")


def test_gateway_trust_ends_at_the_ceiling_if_that_is_earlier() -> None:
    trust = gateway_only("checkout", NOW + 60 * DAY)
    old = with_status(
        builders.identity("old", authentication=trust), gatewayTrustedSince=stamp(NOW - 170 * DAY)
    )
    line = "2027-03-11 12:00Z  ends in 10d  gateway-only trust of ServiceIdentity shop/old"
    assert f"  {line}" in shown({"ServiceIdentity": [old]})
    excepted = identity_summary(old).excepted
    assert excepted is not None
    assert excepted.until == stamp(NOW + 10 * DAY)


def test_times_with_offsets_are_in_order() -> None:
    """A user may write any offset, so the order of the texts is not that of the times."""
    accepts = [
        {"unverified": {"expiresAt": "2027-03-03T00:30:00+02:00"}},
        {"unverified": {"expiresAt": "2027-03-02T23:00:00Z"}},
    ]
    web = builders.identity("web")
    web["spec"]["accepts"] = accepts
    found = overview_of({"ServiceIdentity": [web]})
    assert [each.at for each in found.expiring] == [
        "2027-03-03T00:30:00+02:00",
        "2027-03-02T23:00:00Z",
    ]


def test_live_edge_with_another_namespace_is_counted(tmp_path: Path) -> None:
    far = with_status(builders.identity("cart", "web"))
    payments = with_status(
        builders.identity("payments"),
        edges=[edge("web/cart", "Inbound"), edge("pods of ingress-nginx", "Inbound")],
    )
    objects: dict[str, list[Manifest]] = {kind.plural: [] for kind in KINDS}
    objects |= {"serviceidentities": [payments, far]}
    with serving(tmp_path, objects) as served:
        ended = troth("status", "-n", "shop", "-o", "json", "--kubeconfig", str(served.kubeconfig))
    assert ended.errors == ""
    found = json.loads(ended.output)["overview"]
    assert found["counts"] == {"ServiceIdentity": 1}
    assert found["liveEdges"] == 1
