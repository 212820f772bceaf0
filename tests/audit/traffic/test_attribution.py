"""An address is that of the pod that had it at the time, or of nobody."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.audit.objects import pod, service
from tests.audit.scenes import job
from troth.audit.facts.traffic import Endpoint
from troth.audit.finding import Object
from troth.audit.scene import scene_of
from troth.audit.traffic.agent_lines import AgentLog, Summary
from troth.audit.traffic.attribution import Tenure, attributed, nodes_of, tenures_of
from troth.audit.traffic.pairs import Pair, Sighting
from troth.resources.references import Ref

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEB, PAY = (Object("Deployment", Ref("shop", name)) for name in ("web", "payments"))
SUMMARY = Summary("node-1", ("192.0.2.2",), NOON, NOON + HOUR)


def log(*pairs: tuple[str, str], first: datetime = NOON, last: datetime = NOON + HOUR) -> AgentLog:
    seen = {Pair(*each, 8443, "TCP"): Sighting(5, first, last) for each in pairs}
    return AgentLog(SUMMARY, seen)


def ends(found: Any) -> list[tuple[Endpoint, Endpoint]]:
    return [(each.source, each.destination) for each in found.flows]


def test_pods_are_named_by_their_workloads() -> None:
    scene = scene_of(
        (pod("web", "10.0.0.5", started=NOON - HOUR), pod("payments", "10.0.0.7", started=NOON)),
        NOON,
        in_cluster=True,
    )
    traffic = attributed([log(("10.0.0.5", "10.0.0.7"))], tenures_of(scene))
    (flow,) = traffic.flows
    assert (flow.source, flow.destination) == (Endpoint(WEB), Endpoint(PAY))
    assert (flow.connections, flow.seen_by, traffic.since) == (5, "conntrack", NOON)


def test_replicas_are_one_end() -> None:
    tenures = {each: [Tenure(WEB, NOON - HOUR)] for each in ("10.0.0.5", "10.0.0.6")}
    traffic = attributed([log(("10.0.0.5", "10.0.0.7"), ("10.0.0.6", "10.0.0.7"))], tenures)
    (flow,) = traffic.flows
    assert (flow.source, flow.connections) == (Endpoint(WEB), 10)


def test_both_agents_of_a_connection_count_it_once() -> None:
    traffic = attributed([log(("10.0.0.5", "10.0.0.7")), log(("10.0.0.5", "10.0.0.7"))], {})
    (flow,) = traffic.flows
    assert flow.connections == 5


def test_address_that_a_pod_got_after_the_last_connection_is_nobody_s() -> None:
    tenures = {"10.0.0.5": [Tenure(WEB, NOON + 2 * HOUR)]}
    assert ends(attributed([log(("10.0.0.5", "10.0.0.7"))], tenures)) == [
        (Endpoint(None, "10.0.0.5"), Endpoint(None, "10.0.0.7"))
    ]


def test_connection_that_an_earlier_pod_may_have_left_is_nobody_s() -> None:
    tenures = {"10.0.0.5": [Tenure(WEB, NOON + HOUR - timedelta(minutes=1))]}
    assert ends(attributed([log(("10.0.0.5", "10.0.0.7"))], tenures))[0][0].workload is None


def test_reused_address_counts_from_the_start_of_the_pod() -> None:
    tenures = {"10.0.0.5": [Tenure(WEB, NOON + HOUR / 2)]}
    (flow,) = attributed([log(("10.0.0.5", "10.0.0.7"))], tenures).flows
    assert (flow.source, flow.first_seen) == (Endpoint(WEB), NOON + HOUR / 2)


def test_address_that_two_workloads_had_while_a_pair_was_seen_is_nobody_s() -> None:
    held = [Tenure(WEB, NOON - HOUR, NOON + HOUR), Tenure(PAY, NOON + HOUR / 2)]
    assert ends(attributed([log(("10.0.0.5", "10.0.0.7"))], {"10.0.0.5": held}))[0][0] == (
        Endpoint(None, "10.0.0.5")
    )


def test_pod_that_is_gone_had_the_address_until_then() -> None:
    held = [Tenure(WEB, NOON - HOUR, NOON + HOUR / 2), Tenure(PAY, NOON + 2 * HOUR)]
    seen = log(("10.0.0.5", "10.0.0.7"), last=NOON + HOUR / 2)
    assert ends(attributed([seen], {"10.0.0.5": held}))[0][0] == Endpoint(WEB)


def test_connection_after_a_pod_was_gone_is_not_the_pod_s() -> None:
    held = [Tenure(WEB, NOON - HOUR, NOON - HOUR / 2)]
    assert ends(attributed([log(("10.0.0.5", "10.0.0.7"))], {"10.0.0.5": held}))[0][0] == (
        Endpoint(None, "10.0.0.5")
    )


def test_pod_in_the_host_network_has_its_node_s_address() -> None:
    scene = scene_of(
        (pod("proxy", "192.0.2.9", started=NOON, host_network=True),), NOON, in_cluster=True
    )
    assert tenures_of(scene) == {}
    assert nodes_of(scene) == {"192.0.2.9"}
    assert attributed([log()], {}, nodes=nodes_of(scene)).nodes == {"192.0.2.2", "192.0.2.9"}


def test_agent_that_looks_too_seldom_is_said() -> None:
    summaries = [Summary(f"node-{n}", (), NOON, NOON, gap=n) for n in (10, 11)]
    traffic = attributed([AgentLog(each) for each in summaries], {})
    (sentence,) = traffic.blind
    assert sentence.startswith("node node-11: 11 s passed between two looks")


def ended(workload: str, address: str, *, until: datetime | None) -> dict[str, Any]:
    found = pod(workload, address, started=NOON)
    found["status"]["phase"] = "Succeeded"
    times = [until - HOUR / 4, until] if until else []
    found["status"]["containerStatuses"] = [
        {"state": {"terminated": {"finishedAt": f"{each:%Y-%m-%dT%H:%M:%SZ}"}}} for each in times
    ]
    return found


def test_ended_pod_that_still_exists_had_its_address_until_it_ended() -> None:
    scene = scene_of((ended("web", "10.0.0.5", until=NOON + HOUR),), NOON, in_cluster=True)
    assert tenures_of(scene) == {"10.0.0.5": [Tenure(WEB, NOON, NOON + HOUR)]}
    assert ends(attributed([log(("10.0.0.5", "10.0.0.7"))], tenures_of(scene)))[0][0] == (
        Endpoint(WEB)
    )


def test_runs_of_a_cron_job_are_one_end() -> None:
    runs = [
        pod("night-1", "10.0.0.5", started=NOON - HOUR),
        ended("night-2", "10.0.0.6", until=NOON + HOUR),
    ]
    for run in runs:
        name = run["metadata"]["name"].partition("-5d8f9")[0]
        run["metadata"]["ownerReferences"] = [{"kind": "Job", "name": name, "controller": True}]
    jobs = [job(f"night-{number}", "night") for number in (1, 2)]
    scene = scene_of([*runs, *jobs], NOON, in_cluster=True)
    seen = log(("10.0.0.5", "10.0.0.7"), ("10.0.0.6", "10.0.0.7"))
    (flow,) = attributed([seen], tenures_of(scene)).flows
    assert (flow.source, flow.connections) == (
        Endpoint(Object("CronJob", Ref("shop", "night"))),
        10,
    )


def test_ended_pod_whose_end_is_not_known_had_no_address() -> None:
    scene = scene_of((ended("web", "10.0.0.5", until=None),), NOON, in_cluster=True)
    assert tenures_of(scene) == {}


def test_agent_that_began_after_the_others_is_said() -> None:
    began = (NOON, NOON + HOUR / 2, NOON + 30 * HOUR)
    logs = [AgentLog(Summary(f"node-{n}", (), each, each)) for n, each in enumerate(began)]
    traffic = attributed(logs, {})
    assert traffic.since == NOON
    assert traffic.blind == ("node node-2: watched only since 2026-11-29 18:00 UTC",)


def test_address_of_a_service_on_every_node_is_no_node_s() -> None:
    address, outside, balanced = "10.96.0.7", "198.51.100.7", "198.51.100.8"
    made = service("payments", port=443, target=8443, cluster_ip=address)
    made["spec"] |= {"clusterIPs": [address, "fd00::7"], "externalIPs": [outside, "192.0.2.3"]}
    made["status"] = {"loadBalancer": {"ingress": [{"ip": balanced}, {"hostname": "a.example"}]}}
    scene = scene_of((made,), NOON, in_cluster=True)
    own = (address, "fd00::7", outside, balanced, "192.0.2.2", "192.0.2.3")
    logs = [AgentLog(Summary("node-1", own, NOON, NOON))]
    nodes = frozenset({"192.0.2.3"})
    assert attributed(logs, tenures_of(scene), (), nodes).nodes == {"192.0.2.2", "192.0.2.3"}


def test_what_an_agent_could_not_see_is_said() -> None:
    full = Summary("node-1", (), NOON, NOON, dropped=3)
    broken = Summary("node-2", (), NOON, NOON, problem="cannot read the table of connections")
    traffic = attributed([AgentLog(full), AgentLog(broken), AgentLog(None)], {}, ["node-3: no"])
    assert traffic.blind == (
        "node-3: no",
        "node node-1: more pairs than the agent remembers, so it dropped the oldest",
        "node node-2: cannot read the table of connections",
        "a log has no line of a node agent",
    )
