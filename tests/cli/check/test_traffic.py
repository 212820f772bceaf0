"""`troth check --traffic`: what enforcement would deny of the connections that were seen."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests import builders
from tests.audit.objects import web_and_payments
from tests.builders import Manifest
from tests.cli.api_server import serving
from tests.cli.running import Ended, troth
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.audit.traffic.document import traffic_document
from troth.cli.check.traffic import SeenTraffic, sight_findings
from troth.cli.evaluation.finding import Severity
from troth.cli.learn.collect import READ
from troth.cluster.resources import RESOURCES
from troth.reconcile.loop.informers import selections
from troth.resources.references import Ref

NOW = datetime.now(UTC).replace(microsecond=0)
PAYMENTS, WEB, STRANGER = (
    Object("Deployment", Ref("shop", name)) for name in ("payments", "web", "stranger")
)


def deployment(place: Object) -> Manifest:
    namespace, name = place.ref
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": name, "image": "registry.example/it:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def flow(source: Endpoint, port: int = 8443, last_seen: datetime = NOW) -> Flow:
    times = last_seen - timedelta(days=2), last_seen
    return Flow(source, Endpoint(PAYMENTS), port, "TCP", 12, *times, "conntrack")


def check(
    folder: Path,
    manifests: list[Manifest],
    *flows: Flow,
    more: tuple[str, ...] = (),
    since: datetime | None = NOW - timedelta(days=7),
    blind: tuple[str, ...] = (),
) -> Ended:
    (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    traffic = Traffic(flows, since, blind)
    (folder / "traffic.json").write_text(json.dumps(traffic_document(traffic)))
    options = ("--traffic", str(folder / "traffic.json"), *more)
    return troth("check", "-f", str(folder / "all.yaml"), *options)


ALL = [deployment(each) for each in (PAYMENTS, WEB, STRANGER)]
STRANGERS = [
    flow(Endpoint(STRANGER)),
    flow(Endpoint(None, "198.51.100.7")),
    flow(Endpoint(None, "198.51.100.8")),
]


def test_enforced_identity_says_which_peers_it_would_deny(tmp_path: Path) -> None:
    done = check(tmp_path, [*web_and_payments(), *ALL], flow(Endpoint(WEB)), *STRANGERS)
    assert done.code == 1
    (line,) = [each for each in done.lines if "SeenTrafficDenied" in each]
    assert "enforcing payments would deny 3 peers seen in the last 7 days" in line
    assert "from Deployment shop/stranger on 8443/TCP (12 connections)" in line
    assert "198.51.100.7" in line
    assert "shop/web" not in line
    assert line.startswith(str(tmp_path / "all.yaml"))


def test_declared_traffic_is_no_finding(tmp_path: Path) -> None:
    done = check(tmp_path, [*web_and_payments(), *ALL], flow(Endpoint(WEB)))
    assert (done.code, "SeenTraffic" in done.output) == (0, False), done.output


def test_observed_identity_denies_nothing(tmp_path: Path) -> None:
    done = check(tmp_path, [*web_and_payments("Observe"), *ALL], *STRANGERS)
    assert "SeenTrafficDenied" not in done.output


def test_workload_with_unknown_labels_is_named_and_not_judged(tmp_path: Path) -> None:
    known = [deployment(each) for each in (PAYMENTS, WEB)]
    done = check(tmp_path, [*web_and_payments(), *known], flow(Endpoint(STRANGER)))
    assert "SeenTrafficDenied" not in done.output
    (line,) = [each for each in done.lines if "SeenTrafficUnjudged" in each]
    assert "Deployment shop/stranger" in line


def test_change_that_denies_another_identity_s_traffic_is_reported(tmp_path: Path) -> None:
    """The web no longer declares its call, so payments, which is unchanged, denies it."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "all.yaml").write_text(yaml.safe_dump_all([*web_and_payments(), *ALL]))
    changed = builders.identity("web", "shop")
    assume = ("--assume", str(tmp_path / "there"))
    done = check(tmp_path, [changed], flow(Endpoint(WEB)), more=assume)
    assert any("enforcing payments would deny 1 peer" in each for each in done.lines), done.output
    unchanged = check(tmp_path, web_and_payments()[3:], flow(Endpoint(WEB)), more=assume)
    assert "SeenTrafficDenied" not in unchanged.output


def test_unreadable_traffic_is_unusable_input(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(web_and_payments()))
    (tmp_path / "traffic.json").write_text("{}")
    files = "-f", str(tmp_path / "all.yaml"), "--traffic", str(tmp_path / "traffic.json")
    done = troth("check", *files)
    assert done.code == 2
    assert f"{tmp_path}/traffic.json: is not a document of traffic: " in done.errors
    assert "; write one with troth learn --save-traffic" in done.errors


def test_hostile_names_are_quoted(tmp_path: Path) -> None:
    hostile = Object("Deployment", Ref("shop", "web\x1b[31m"))
    done = check(tmp_path, [*web_and_payments(), *ALL], flow(Endpoint(hostile)))
    assert "\x1b" not in done.output + done.errors


def test_gaps_of_the_traffic_are_named(tmp_path: Path) -> None:
    blind = ("node-2: its agent gave no log", "hubble: 3 lines are not flows")
    done = check(tmp_path, [*web_and_payments(), *ALL], flow(Endpoint(WEB)), blind=blind)
    lines = [each for each in done.lines if "TrafficNotSeen" in each]
    assert len(lines) == len(blind)
    assert all(any(each in line for line in lines) for each in blind)
    assert done.code == 0


def test_traffic_that_nobody_watched_says_so(tmp_path: Path) -> None:
    done = check(tmp_path, [*web_and_payments(), *ALL], since=None)
    (line,) = [each for each in done.lines if "TrafficNotSeen" in each]
    assert "nobody watched" in line


def test_kinds_that_cannot_be_read_are_named() -> None:
    scene = Scene(in_cluster=True, hidden={"Pod": "forbidden"})
    seen = SeenTraffic(Traffic((), NOW), scene)
    (found,) = sight_findings(seen)
    assert (found.severity, found.reason) == (Severity.NOTICE, "TrafficNotSeen")
    assert "Pod" in found.message
    assert "forbidden" in found.message


def test_connections_with_pods_that_are_gone_are_counted(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
    }
    gone = flow(Endpoint(None, "10.0.0.77"))
    done = check(tmp_path, [*web_and_payments(), *ALL, pod], gone)
    assert "SeenTrafficDenied" not in done.output
    (line,) = [each for each in done.lines if "SeenTrafficUnjudged" in each]
    assert "12 connections of payments" in line


def test_peers_that_are_not_named_are_counted_as_peers(tmp_path: Path) -> None:
    strangers = [Endpoint(None, f"198.51.100.{number}") for number in range(7)]
    flows = [flow(each, port) for each in strangers for port in (8443, 9090, 9091)]
    done = check(tmp_path, [*web_and_payments(), *ALL], *flows)
    (line,) = [each for each in done.lines if "SeenTrafficDenied" in each]
    assert "would deny 7 peers" in line
    assert "from 198.51.100.0 on 8443/TCP, 9090/TCP, 9091/TCP (36 connections)" in line
    assert "and 2 more; declare" in line


def test_peers_that_are_all_named_leave_none(tmp_path: Path) -> None:
    flows = [flow(Endpoint(None, "198.51.100.7"), port) for port in range(8443, 8450)]
    done = check(tmp_path, [*web_and_payments(), *ALL], *flows)
    (line,) = [each for each in done.lines if "SeenTrafficDenied" in each]
    assert "would deny 1 peer" in line
    assert "8443/TCP, 8444/TCP, 8445/TCP and 4 more (84 connections); declare" in line


def test_period_ends_when_watching_ended(tmp_path: Path) -> None:
    ended = NOW - timedelta(days=30)
    given = flow(Endpoint(STRANGER), last_seen=ended)
    done = check(tmp_path, [*web_and_payments(), *ALL], given, since=ended - timedelta(days=7))
    (line,) = [each for each in done.lines if "SeenTrafficDenied" in each]
    assert f"1 peer seen in the 7 days until {ended:%Y-%m-%d}" in line


LEGAL = Object("Deployment", Ref("legal", "web"))
ABROAD = [
    builders.domain(),
    *(builders.namespace(each, domain="production") for each in ("legal", "shop")),
    builders.identity(
        "payments", ports=["https"], accepts=[builders.accept("web", namespace="legal")]
    ),
    builders.identity("web", "legal", calls=[builders.call("payments", namespace="shop")]),
    deployment(PAYMENTS),
    deployment(LEGAL),
]
"""A caller and a callee in two namespaces, each of which declares the call."""
ACROSS = flow(Endpoint(LEGAL))


@pytest.mark.parametrize(
    ("watched", "denies"), [("", False), ("legal,shop", False), ("shop", True)]
)
def test_peer_in_a_namespace_that_troth_does_not_watch_would_be_denied(
    tmp_path: Path, watched: str, denies: bool
) -> None:
    more = ("--watched-namespaces", watched) if watched else ()
    done = check(tmp_path, ABROAD, ACROSS, more=more)
    found = [each for each in done.lines if "SeenTrafficDenied" in each]
    assert len(found) == denies, done
    assert all("from Deployment legal/web on 8443/TCP" in each for each in found)


def test_identity_in_a_namespace_that_troth_does_not_watch_denies_nothing(tmp_path: Path) -> None:
    calls = Flow(Endpoint(LEGAL), Endpoint(STRANGER), 80, "TCP", 12, NOW, NOW, "conntrack")
    manifests = [*ABROAD, deployment(STRANGER)]
    watched = "--watched-namespaces"
    everywhere = check(tmp_path, manifests, calls)
    assert "enforcing web would deny 1 peer" in everywhere.output
    assert "enforcing" not in check(tmp_path, manifests, calls, more=(watched, "shop")).output


def test_watched_namespaces_of_a_cluster_are_those_of_its_trust_domains(tmp_path: Path) -> None:
    every = {*READ, *(each.kind for each in selections("troth-system"))}
    objects: dict[str, list[Manifest]] = {RESOURCES[each].name: [] for each in every}
    for each in ABROAD:
        objects[RESOURCES[each["kind"]].name].append(each)
    for watched, denies in (([], False), (["shop"], True)):
        objects["trustdomains"] = [builders.domain() | {"status": {"watchedNamespaces": watched}}]
        with serving(tmp_path, objects) as served:
            more = ("--kubeconfig", str(served.kubeconfig))
            done = check(tmp_path, [ABROAD[3]], ACROSS, more=more)
        assert (done.code, "SeenTrafficDenied" in done.output) == (denies, denies), done
