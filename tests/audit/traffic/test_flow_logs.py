"""Flow logs of Hubble and Calico become traffic; what was dropped or denied does not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.audit.objects import deployment, pod
from tests.audit.scenes import cron_job, job
from troth.audit.facts.traffic import Endpoint
from troth.audit.finding import Object
from troth.audit.scene import scene_of
from troth.audit.traffic import calico, hubble
from troth.audit.traffic.calico import read_calico
from troth.audit.traffic.hubble import read_hubble
from troth.audit.traffic.names import PodNames
from troth.resources.references import Ref

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
WEB, PAY = (Endpoint(Object("Deployment", Ref("shop", name))) for name in ("web", "payments"))
NAMES = PodNames(
    scene_of(
        (
            deployment("web"),
            deployment("payments"),
            pod("payments", "10.0.0.7", started=NOON),
        ),
        NOON,
    )
)
Flow = dict[str, Any]

# as Cilium 1.18 prints them, without members that nobody reads
HUBBLE: Flow = {
    "flow": {
        "time": "2026-11-28T12:00:00.123456789Z",
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.5", "destination": "10.0.0.7", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 43210, "destination_port": 8443, "flags": {"SYN": True}}},
        "source": {
            "namespace": "shop",
            "labels": ["k8s:app=web"],
            "pod_name": "web-5d8f9abc1-x2k4q",
            "workloads": [{"name": "web", "kind": "Deployment"}],
        },
        "destination": {
            "namespace": "shop",
            "labels": ["k8s:app=payments"],
            "pod_name": "payments-5d8f9-7",
        },
        "Type": "L3_L4",
        "node_name": "node-1",
        "is_reply": False,
        "traffic_direction": "INGRESS",
    },
    "node_name": "node-1",
    "time": "2026-11-28T12:00:00.123456789Z",
}
# as Calico Enterprise 3.21 prints them
CALICO: Flow = {
    "start_time": 1795867200,
    "end_time": 1795867500,
    "source_ip": None,
    "source_name": "-",
    "source_name_aggr": "web-5d8f9abc1-*",
    "source_namespace": "shop",
    "source_port": None,
    "source_type": "wep",
    "dest_ip": "10.0.0.7",
    "dest_name": "payments-5d8f9-7",
    "dest_name_aggr": "payments-5d8f9-*",
    "dest_namespace": "shop",
    "dest_port": 8443,
    "dest_type": "wep",
    "proto": "tcp",
    "action": "allow",
    "reporter": "dst",
    "num_flows": 4,
    "num_flows_started": 3,
}


def of_hubble(*flows: Flow) -> Any:
    return read_hubble([json.dumps(each) for each in flows], NAMES)


def changed(**members: Any) -> Flow:
    return {"flow": HUBBLE["flow"] | members}


def flags(*names: str, **members: Any) -> Flow:
    tcp = HUBBLE["flow"]["l4"]["TCP"] | {"flags": dict.fromkeys(names, True)}
    return changed(l4={"TCP": tcp}, **members)


def test_hubble_s_flow_is_attributed_to_workloads() -> None:
    (flow,) = of_hubble(HUBBLE, HUBBLE, flags("ACK", "FIN")).flows
    assert (flow.source, flow.destination, flow.port, flow.protocol) == (WEB, PAY, 8443, "TCP")
    assert (flow.connections, flow.seen_by, flow.first_seen) == (2, "hubble", NOON)


@pytest.mark.parametrize("name", ["night-29001234", "night-29001235", "report-1"])
def test_pods_of_a_cron_job_s_runs_are_the_cron_job(name: str) -> None:
    """The first Job exists with its pod, the second is gone, and the third has no pod now."""
    run = pod("night", "10.0.0.9", started=NOON)
    run["metadata"] |= {
        "name": "night-29001234-x7k2p",
        "ownerReferences": [{"kind": "Job", "name": "night-29001234", "controller": True}],
    }
    above = name.partition("-")[0]
    jobs = [job("night-29001234", "night"), job("report-1", "report")]
    names = PodNames(scene_of([cron_job("night"), *jobs, run], NOON, in_cluster=True))
    place = Object("CronJob", Ref("shop", above))
    assert names.workload("shop", f"{name}-x7k2p") == place
    assert names.workload_of_prefix("shop", f"{name}-") == place


def test_both_sides_of_hubble_count_a_connection_once() -> None:
    (flow,) = of_hubble(HUBBLE, changed(traffic_direction="EGRESS")).flows
    assert flow.connections == 1


@pytest.mark.parametrize(
    "flow",
    [
        changed(verdict="DROPPED"),
        changed(verdict="AUDIT"),
        changed(traffic_direction="EGRESS"),  # the callee's side may have dropped it
        flags("RST", "ACK"),
        changed(l4={"ICMPv4": {"type": 8}}),
    ],
)
def test_packet_that_did_not_arrive_is_no_traffic(flow: Flow) -> None:
    assert of_hubble(flow).flows == ()


def test_answer_shows_that_a_call_arrived() -> None:
    answer = changed(
        is_reply=True,
        IP={"source": "10.0.0.7", "destination": "10.0.0.5"},
        source=HUBBLE["flow"]["destination"],
        destination=HUBBLE["flow"]["source"],
        l4={"TCP": {"source_port": 8443, "destination_port": 43210, "flags": {"ACK": True}}},
    )
    (flow,) = of_hubble(answer).flows
    assert (flow.source, flow.destination, flow.port) == (WEB, PAY, 8443)


def test_hubble_s_end_outside_the_cluster_has_an_address_and_a_node_is_one() -> None:
    outside = changed(
        source={"labels": ["reserved:host"]},
        destination={"labels": ["reserved:world"]},
        IP={"source": "192.0.2.2", "destination": "203.0.113.9"},
    )
    found = of_hubble(outside)
    (flow,) = found.flows
    assert (flow.source, flow.destination) == (
        Endpoint(None, "192.0.2.2"),
        Endpoint(None, "203.0.113.9"),
    )
    assert found.nodes == {"192.0.2.2"}


def of_calico(*flows: Flow) -> Any:
    return read_calico([json.dumps(each) for each in flows], NAMES)


def test_calico_s_flow_is_attributed_to_workloads_also_if_pods_are_aggregated() -> None:
    (flow,) = of_calico(CALICO, CALICO | {"start_time": 1795867500, "end_time": 1795867800}).flows
    assert (flow.source, flow.destination, flow.port, flow.protocol) == (WEB, PAY, 8443, "TCP")
    assert (flow.connections, flow.seen_by) == (6, "calico")
    assert (flow.last_seen - flow.first_seen).total_seconds() == 600


@pytest.mark.parametrize("change", [{"action": "deny"}, {"reporter": "src"}, {"proto": "icmp"}])
def test_flow_that_calico_did_not_let_in_is_no_traffic(change: Flow) -> None:
    assert of_calico(CALICO | change).flows == ()


def test_caller_reports_a_flow_to_a_network() -> None:
    outside = {"dest_type": "net", "dest_ip": "203.0.113.9", "dest_name_aggr": "pub"}
    (flow,) = of_calico(CALICO | outside | {"reporter": "src"}).flows
    assert flow.destination == Endpoint(None, "203.0.113.9")
    (flow,) = of_calico(CALICO | outside | {"reporter": "src", "dest_ip": None}).flows
    assert flow.destination == Endpoint(None, "")


@pytest.mark.parametrize("read", [read_hubble, read_calico])
@pytest.mark.parametrize(
    "line", ["x", "[]", "{}", '{"flow":1}', "[" * 100_000, json.dumps({"flow": {"verdict": 1}})]
)
def test_line_that_is_no_flow_is_counted(read: Any, line: str) -> None:
    found = read([line, ""], NAMES)
    if line != json.dumps({"flow": {"verdict": 1}}) or read is read_calico:
        assert found.blind[0].endswith("1 lines are not flows")
    assert found.flows == ()


@pytest.mark.parametrize("port", [0, 65536, "443", True])
def test_port_of_a_flow_is_a_port(port: object) -> None:
    tcp = HUBBLE["flow"]["l4"]["TCP"] | {"destination_port": port}
    for found in (of_hubble(changed(l4={"TCP": tcp})), of_calico(CALICO | {"dest_port": port})):
        assert found.flows == ()
        assert found.blind


def test_number_of_flows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hubble, calico):
        monkeypatch.setattr(module, "MOST_FLOWS", 0)
    assert of_hubble(HUBBLE).flows == of_calico(CALICO).flows == ()
