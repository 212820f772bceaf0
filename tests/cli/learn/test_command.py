"""`troth learn` from a terminal: its sources, its output, and what it cannot read."""

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests import builders
from tests.audit.objects import deployment, pod, service
from tests.cli.api_server import serving
from tests.cli.running import troth
from troth.audit.traffic.agent_lines import Summary, pair_line, summary_line
from troth.audit.traffic.document import read_traffic
from troth.audit.traffic.pairs import Pair, Sighting
from troth.cli.exit_codes import ExitCode
from troth.cli.inputs.access import PersonalServer
from troth.cli.learn.collect import AGENTS, read_agents
from troth.cli.learn.command import NOTHING
from troth.resources.manifests import ManifestLoader

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOSTILE = "web\u202e\x1b[31m\n- injected: true"
Manifest = dict[str, Any]


def shop() -> list[Manifest]:
    return [
        builders.namespace("shop"),
        deployment("web", env={"PAYMENTS": "https://payments:443"}),
        deployment("payments", ports={"https": 8443}),
        service("payments", port=443, target="https"),
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "shop.yaml").write_text(yaml.safe_dump_all(shop()))
    return folder


def drafts(text: str) -> dict[str, Manifest]:
    return {
        f"{each['kind']} {each['metadata']['name']}": each
        for each in yaml.load_all(text, ManifestLoader)
        if each
    }


def log(*pairs: Pair) -> bytes:
    summary = Summary("node-1", ("192.0.2.2",), NOON, NOON + timedelta(hours=1))
    lines = [summary_line(summary)]
    lines += [pair_line(each, Sighting(4, NOON, NOON + timedelta(hours=1))) for each in pairs]
    return "\n".join(lines).encode()


SEEN = Pair("10.0.0.5", "10.0.0.7", 8443, "TCP")


def agent(address: str = "192.0.2.2") -> Manifest:
    labels = dict(each.split("=") for each in AGENTS.split(","))
    found = pod("troth-agent", address, "troth-agent", started=NOON, labels=labels)
    found["metadata"]["name"] = "troth-agent-1"
    owner = {"kind": "DaemonSet", "name": "troth-agent", "controller": True}
    found["metadata"]["ownerReferences"] = [owner]
    found["spec"]["nodeName"] = "node-1"
    return found


def cluster() -> dict[str, list[Manifest]]:
    """Return a cluster whose programs name nobody, so that only traffic shows edges."""
    return {
        "namespaces": [builders.namespace("shop")],
        "deployments": [deployment("web"), deployment("payments", ports={"https": 8443})],
        "pods": [
            pod("web", "10.0.0.5", started=NOON - timedelta(hours=1)),
            pod("payments", "10.0.0.7", started=NOON - timedelta(hours=1)),
        ],
        **{
            plural: []
            for plural in (
                *("jobs", "cronjobs", "statefulsets", "daemonsets", "services", "nodes"),
                *("networkpolicies", "endpointslices", "trustdomains", "serviceidentities"),
            )
        },
    }


CALLS = [{"to": {"name": "payments"}, "ports": ["https"]}]


def test_manifests_alone_are_drafted_and_the_drafts_pass_check(files: Path, tmp_path: Path) -> None:
    ended = troth("learn", "-f", str(files))
    assert ended.code == ExitCode.CLEAN
    found = drafts(ended.output)
    assert found["ServiceIdentity web"]["spec"]["calls"] == CALLS
    assert "# payments:443 in Deployment shop/web" in ended.output
    (tmp_path / "drafts.yaml").write_text(ended.output)
    checked = troth("check", "-f", str(tmp_path / "drafts.yaml"), "-f", str(files))
    assert checked.code == ExitCode.CLEAN, checked.output


def test_drafts_are_written_to_a_folder_and_never_over_a_file(files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drafts"
    arguments = ("learn", "-f", str(files), "--output-dir", str(folder))
    assert troth(*arguments).code == ExitCode.CLEAN
    assert sorted(each.name for each in folder.iterdir()) == ["00-trust-domain.yaml", "shop.yaml"]
    (folder / "shop.yaml").write_text("reviewed")
    again = troth(*arguments)
    assert again.code == ExitCode.UNUSABLE_INPUT
    assert "shop.yaml: exists already" in again.errors
    assert (folder / "shop.yaml").read_text() == "reviewed"


def test_logs_of_agents_are_read_through_the_api_server(tmp_path: Path) -> None:
    objects = cluster()
    objects["pods"].append(agent())
    save = tmp_path / "traffic.json"
    with serving(tmp_path, objects, logs={"troth-agent-1": log(SEEN)}) as served:
        ended = troth(
            *("learn", "--kubeconfig", str(served.kubeconfig), "--from-agents"),
            *("-n", "shop", "--save-traffic", str(save)),
        )
        asked = {plural for plural, _ in served.requests}
    assert ended.code == ExitCode.CLEAN, ended.errors
    assert drafts(ended.output)["ServiceIdentity web"]["spec"]["calls"] == CALLS
    assert "4 connections since 2026-11-28 12:00, last at 2026-11-28 13:00 UTC" in ended.output
    assert "secrets" not in asked
    assert "configmaps" not in asked
    assert read_traffic(save.read_bytes()).since == NOON


def elsewhere(made: Manifest) -> None:
    made["metadata"]["namespace"] = "shop"


def by_hand(made: Manifest) -> None:
    del made["metadata"]["ownerReferences"]


@pytest.mark.parametrize("change", [elsewhere, by_hand], ids=["elsewhere", "by-hand"])
def test_log_of_a_pod_that_only_has_the_labels_is_not_read(
    tmp_path: Path, change: Callable[[Manifest], None]
) -> None:
    objects = cluster()
    forger = agent()
    change(forger)
    objects["pods"].append(forger)
    with serving(tmp_path, objects, logs={"troth-agent-1": log(SEEN)}) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig), "--from-agents")
    assert "there is no node agent in namespace troth-agent" in ended.output
    assert "connections since" not in ended.output


def test_agents_in_another_namespace_are_read_if_it_is_named(tmp_path: Path) -> None:
    objects = cluster()
    made = agent()
    made["metadata"]["namespace"] = "watch"
    objects["pods"].append(made)
    with serving(tmp_path, objects, logs={"troth-agent-1": log(SEEN)}) as served:
        ended = troth(
            *("learn", "--kubeconfig", str(served.kubeconfig), "-n", "shop"),
            *("--from-agents", "--agent-namespace", "watch"),
        )
    assert "connections since" in ended.output, ended.errors


def test_log_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    objects = cluster()
    objects["pods"].append(agent())
    with serving(tmp_path, objects) as served:
        ended = troth(
            "learn", "--kubeconfig", str(served.kubeconfig), "--from-agents", "-n", "shop"
        )
    assert ended.code == ExitCode.CLEAN
    assert "# Not all traffic was seen: node node-1: the log of Pod troth-agent" in ended.output


def test_cluster_without_agents_is_said(tmp_path: Path) -> None:
    objects = {**cluster(), "pods": []}
    with serving(tmp_path, objects) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig), "--from-agents")
    says = "there is no node agent in namespace troth-agent; install the chart with"
    assert f"{says} audit.agent.enabled=true" in ended.output


def test_kind_that_the_user_may_not_list_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, cluster(), forbidden=["networkpolicies"]) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig))
    assert ended.code == ExitCode.CLEAN
    assert "NetworkPolicy: not seen in full: " in ended.errors


@pytest.mark.parametrize(
    ("namespaces", "says"),
    [
        (["shop"], "namespace shop alone; callers elsewhere are not seen"),
        (["shop", "finance"], "namespaces shop, finance alone; callers elsewhere are not seen"),
    ],
    ids=["one", "two"],
)
def test_kind_that_was_listed_in_some_namespaces_alone_is_said(
    tmp_path: Path, namespaces: list[str], says: str
) -> None:
    objects = cluster()
    objects["pods"].append(pod("caller", "10.0.0.9", "elsewhere", started=NOON))
    options = [part for each in namespaces for part in ("-n", each)]
    with serving(tmp_path, objects, confined=["pods"]) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig), *options)
    assert ended.code == ExitCode.CLEAN
    assert ended.errors == f"Pod: not seen in full: listed in the {says}\n"
    assert "ServiceIdentity payments" in drafts(ended.output)


def test_cluster_without_troth_s_crds_is_drafted(tmp_path: Path) -> None:
    objects = cluster()
    del objects["trustdomains"], objects["serviceidentities"]
    with serving(tmp_path, objects) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig))
    assert ended.code == ExitCode.CLEAN
    assert ended.errors == ""
    assert "ServiceIdentity payments" in drafts(ended.output)


def test_jobs_of_a_cron_job_are_the_cron_job(tmp_path: Path) -> None:
    template = deployment("report")["spec"]["template"]
    owner = {"kind": "CronJob", "name": "report", "controller": True}
    job = {
        "metadata": {"name": "report-29", "namespace": "shop", "ownerReferences": [owner]},
        "spec": {"template": template},
    }
    run = pod("report", "10.0.0.9", started=NOON, labels={"job-name": "report-29"})
    run["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "report-29", "controller": True}]
    cron = {
        "metadata": {"name": "report", "namespace": "shop"},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }
    objects = {**cluster(), "jobs": [job], "cronjobs": [cron]}
    objects["pods"] = [*objects["pods"], run]
    with serving(tmp_path, objects) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig))
    assert "# CronJob shop/report\n" in ended.output
    assert "Split:" not in ended.output
    assert "Job shop/report-29" not in ended.output


def test_saved_traffic_and_an_agent_s_log_are_read_from_files(tmp_path: Path) -> None:
    raw, save = tmp_path / "agent.log", tmp_path / "traffic.json"
    raw.write_bytes(log(SEEN))
    with serving(tmp_path, cluster()) as served:
        place = ("learn", "--kubeconfig", str(served.kubeconfig))
        first = troth(*place, "--agent-log", str(raw), "--save-traffic", str(save))
        second = troth(*place, "--traffic", str(save))
    assert first.output == second.output
    assert drafts(second.output)["ServiceIdentity web"]["spec"]["calls"] == CALLS


def test_traffic_that_was_saved_before_counts_once_with_the_log_it_is_from(tmp_path: Path) -> None:
    raw, save, more = (tmp_path / name for name in ("agent.log", "1.json", "2.json"))
    raw.write_bytes(log(SEEN))
    with serving(tmp_path, cluster()) as served:
        place = ("learn", "--kubeconfig", str(served.kubeconfig), "--agent-log", str(raw))
        first = troth(*place, "--save-traffic", str(save))
        second = troth(*place, "--traffic", str(save), "--save-traffic", str(more))
    assert first.output == second.output
    assert read_traffic(save.read_bytes()) == read_traffic(more.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a cluster with --kubeconfig, or manifests with --filename"),
        (("-f", "x.yaml", "--from-agents"), "--from-agents needs --kubeconfig"),
        (("-f", "missing.yaml"), "missing.yaml: no such file or folder"),
    ],
)
def test_input_that_is_missing_is_named(arguments: tuple[str, ...], says: str) -> None:
    ended = troth("learn", *arguments)
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert says in " ".join(ended.errors.replace("│", " ").split())


@pytest.mark.parametrize("content", [b"{", json.dumps({"format": "other"}).encode()])
def test_file_that_is_not_traffic_is_named(files: Path, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "traffic.json"
    broken.write_bytes(content)
    ended = troth("learn", "-f", str(files), "--traffic", str(broken))
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert "traffic.json: " in ended.errors


def test_object_without_a_name_is_named_with_its_line(files: Path) -> None:
    (files / "broken.yaml").write_text("\nkind: Deployment\nmetadata: {}\n")
    ended = troth("learn", "-f", str(files))
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert "broken.yaml:2: Deployment: metadata.name: write metadata with a name" in ended.errors


@pytest.mark.parametrize(
    ("kind", "member"),
    [("Deployment", "name"), ("Deployment", "namespace"), ("Namespace", "name")],
)
@pytest.mark.parametrize(
    "name",
    ["../escaped", HOSTILE, "a/b", ".", "x" * 254],
    ids=["parent", "control", "folder", "dot", "long"],
)
def test_name_that_no_api_server_accepts_is_rejected(
    tmp_path: Path, kind: str, member: str, name: str
) -> None:
    hostile = deployment("web") if kind == "Deployment" else builders.namespace("shop")
    hostile["metadata"][member] = name
    folder = tmp_path / "here" / "drafts"
    file = tmp_path / "hostile.yaml"
    file.write_text(yaml.safe_dump(hostile))
    ended = troth("learn", "-f", str(file), "--output-dir", str(folder))
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert f"hostile.yaml:1: {kind}: metadata.{member}: write a DNS " in ended.errors
    assert "\x1b" not in ended.errors
    assert list(tmp_path.iterdir()) == [file]


def test_resource_that_is_not_valid_is_a_fault_in_files_and_is_said_of_a_cluster(
    files: Path, tmp_path: Path
) -> None:
    broken = builders.identity("payments", ports=["https"], enforcement="Maybe")
    (files / "broken.yaml").write_text(yaml.safe_dump(broken))
    ended = troth("learn", "-f", str(files))
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert "ServiceIdentity shop/payments: spec.enforcement: " in ended.errors
    objects = {**cluster(), "serviceidentities": [broken]}
    with serving(tmp_path, objects) as served:
        ended = troth("learn", "--kubeconfig", str(served.kubeconfig))
    assert ended.code == ExitCode.CLEAN
    assert "ServiceIdentity shop/payments: omitted: spec.enforcement: " in ended.errors


def test_log_is_kept_only_until_it_is_parsed() -> None:
    class Raw:
        def splitlines(self) -> list[bytes]:
            return log(SEEN).splitlines()

    held: list[weakref.ref[Raw]] = []

    class Server:
        async def pages(self, _: object) -> AsyncIterator[Manifest]:
            yield {"items": [agent(), agent()]}

        async def log(self, *_: object, **__: object) -> Raw:
            assert [each() for each in held] == [None] * len(held)
            raw = Raw()
            held.append(weakref.ref(raw))
            return raw

    logs, missing = asyncio.run(read_agents(cast("PersonalServer", Server()), "troth-agent"))
    assert [[*each.pairs] for each in logs] == [[SEEN], [SEEN]]
    assert missing == []


def test_hostile_texts_cannot_end_a_comment_or_reach_the_terminal(tmp_path: Path) -> None:
    hostile = deployment("web", account=HOSTILE, labels={"app": HOSTILE, HOSTILE: "x"})
    file = tmp_path / "hostile.yaml"
    file.write_text(yaml.safe_dump_all([hostile, deployment("api", account=HOSTILE)]))
    ended = troth("learn", "-f", str(file))
    assert ended.code == ExitCode.CLEAN
    assert ended.output.isascii()
    assert "\x1b" not in ended.output
    for each in yaml.safe_load_all(ended.output):
        assert not isinstance(each, list)
        assert "injected" not in (each or {})


def test_values_of_the_environment_are_not_in_the_drafts(tmp_path: Path) -> None:
    secret = "https://user:hunter2@api.stripe.example:443/?key=sk_live_1"
    file = tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump(deployment("web", env={"URL": secret})))
    ended = troth("learn", "-f", str(file))
    assert "api.stripe.example:443" in ended.output
    assert "hunter2" not in ended.output
    assert "sk_live" not in ended.output


def test_nothing_to_draft_is_said(tmp_path: Path) -> None:
    file = tmp_path / "namespace.yaml"
    file.write_text(yaml.safe_dump(builders.namespace("shop")))
    ended = troth("learn", "-f", str(file))
    assert (ended.code, ended.output) == (ExitCode.CLEAN, "")
    assert "nothing to draft: no workload was found" in ended.errors


def test_workload_that_gets_no_draft_is_said_if_there_is_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(deployment("proxy", host_network=True)))
    ended = troth("learn", "-f", str(file), "-n", "shop")
    assert (ended.code, ended.output) == (ExitCode.CLEAN, "")
    assert "Deployment shop/proxy is in the host network" in ended.errors


def legal_and_shop() -> dict[str, list[Manifest]]:
    """Return a cluster whose `legal/web` calls `shop/payments`, and that watches the shop alone."""
    names = ("legal", "shop")
    return cluster() | {
        "namespaces": [builders.namespace(each, domain="production") for each in names],
        "trustdomains": [builders.domain() | {"status": {"watchedNamespaces": ["shop"]}}],
        "serviceidentities": [builders.identity("web", "legal")],
        "deployments": [
            deployment("web", "legal", env={"PAYMENTS": "https://payments.shop:8443"}),
            deployment("payments", ports={"https": 8443}),
        ],
        "pods": [
            pod("payments", "10.0.0.7", started=NOON),
            pod("web", "10.0.0.5", "legal", started=NOON),
        ],
    }


def test_only_namespaces_that_troth_watches_are_drafted(tmp_path: Path) -> None:
    with serving(tmp_path, legal_and_shop()) as served:
        options = ("learn", "--kubeconfig", str(served.kubeconfig))
        told, other = troth(*options), troth(*options, "--watched-namespaces", "legal")
    assert [*drafts(told.output)] == ["ServiceIdentity payments"]
    assert "ServiceIdentity legal/web exists" not in told.output
    assert "# Troth does not watch the namespaces of other workloads" in told.output
    assert [*drafts(other.output)] == []
    assert "# ServiceIdentity legal/web exists" in other.output


def test_namespace_that_troth_does_not_watch_is_rejected(tmp_path: Path) -> None:
    save = tmp_path / "traffic.json"
    with serving(tmp_path, legal_and_shop()) as served:
        options = ("--kubeconfig", str(served.kubeconfig), "-n", "shop", "-n", "legal")
        ended = troth("learn", *options, "--save-traffic", str(save))
    assert (ended.code, ended.output) == (ExitCode.UNUSABLE_INPUT, "")
    sentence = "Troth does not watch namespace legal; add it to the chart value namespaces"
    assert f"Namespace legal: {sentence}" in ended.errors
    assert not save.exists()


def test_watched_namespaces_of_files_are_those_of_the_option(files: Path) -> None:
    for watched, said in (("shop", "ServiceIdentity payments"), ("legal", NOTHING)):
        ended = troth("learn", "-f", str(files), "--watched-namespaces", watched)
        assert ended.code == ExitCode.CLEAN
        assert said in {*drafts(ended.output), *ended.errors.splitlines()}
