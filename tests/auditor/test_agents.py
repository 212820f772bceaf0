"""The logs of node agents as the auditor reads them."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from troth.audit.facts.traffic import Traffic
from troth.audit.scene import Scene, scene_of
from troth.audit.traffic.agent_lines import (
    AGENT_LABELS,
    Summary,
    no_agent,
    pair_line,
    summary_line,
)
from troth.audit.traffic.attribution import MergedLogs
from troth.audit.traffic.pairs import Pair, Sighting
from troth.auditor.agents import AgentLogs
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass
class Logs:
    """An API server with the logs of pods."""

    logs: dict[Ref, bytes] = field(default_factory=dict)

    async def log(self, pod: Ref, *, last_lines: int, most_bytes: int) -> bytes:
        assert last_lines
        assert most_bytes
        if pod not in self.logs:
            raise ApiError(403, "Forbidden", "")
        return self.logs[pod]


OWNER = {"kind": "DaemonSet", "name": "troth-agent", "controller": True}


def with_agents(*names: str, namespace: str = "agents", owner: Any = OWNER) -> Scene:
    return scene_of(
        [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": dict(AGENT_LABELS),
                    "ownerReferences": [owner],
                },
                "spec": {"nodeName": f"node-of-{name}", "containers": []},
                "status": {"phase": "Running"},
            }
            for name in names
        ],
        NOW,
        in_cluster=True,
    )


def source(scene: Scene, logs: Logs) -> AgentLogs:
    return AgentLogs(cast("ApiServer", logs), lambda: scene, "agents")


async def test_missing_agents_are_said_and_nobody_watches() -> None:
    seen = await source(with_agents(), Logs()).traffic()
    assert (seen.since, seen.blind) == (None, (no_agent("agents"),))


@pytest.mark.parametrize(
    "scene",
    [
        with_agents("a", namespace="shop"),
        with_agents("a", owner={**OWNER, "controller": False}),
        with_agents("a", owner={**OWNER, "kind": "ReplicaSet"}),
    ],
    ids=["another-namespace", "not-controlled", "another-controller"],
)
async def test_log_of_a_pod_that_only_has_the_labels_is_not_read(scene: Scene) -> None:
    logs = dict.fromkeys((Ref("shop", "a"), Ref("agents", "a")), b"")
    seen = await source(scene, Logs(logs)).traffic()
    assert seen.blind == (no_agent("agents"),)


async def test_log_that_may_not_be_read_leaves_its_node_blind() -> None:
    seen = await source(with_agents("a"), Logs()).traffic()
    (sentence,) = seen.blind
    assert sentence == "node node-of-a: the log of Pod agents/a cannot be read (403 Forbidden)"


async def test_log_without_a_line_of_an_agent_is_blind() -> None:
    seen = await source(with_agents("a"), Logs({Ref("agents", "a"): b"hello\n"})).traffic()
    assert len(seen.blind) == 1


def log_of(name: str, *sources: str) -> bytes:
    summary = Summary(f"node-of-{name}", (), NOW, NOW)
    sighting = Sighting(1, NOW, NOW)
    pairs = [pair_line(Pair(each, "10.0.0.9", 443, "TCP"), sighting) for each in sources]
    return "\n".join([summary_line(summary), *pairs]).encode()


async def test_pairs_of_all_nodes_together_are_bounded_and_the_excess_is_said() -> None:
    logs = Logs(
        {
            Ref("agents", "a"): log_of("a", "10.0.0.1", "10.0.0.2"),
            Ref("agents", "b"): log_of("b", "10.0.0.1", "10.0.0.3"),
        }
    )
    scene = with_agents("a", "b")
    seen = await AgentLogs(cast("ApiServer", logs), lambda: scene, "agents", most=2).traffic()
    assert [each.source.address for each in seen.flows] == ["10.0.0.1", "10.0.0.2"]
    (sentence,) = seen.blind
    assert sentence.startswith("node node-of-b: pairs are left out")
    seen = await AgentLogs(cast("ApiServer", logs), lambda: scene, "agents", most=3).traffic()
    assert (len(seen.flows), seen.blind) == (3, ())


async def test_connections_are_attributed_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[bool] = []
    original = MergedLogs.traffic

    def spied(*arguments: Any) -> Traffic:
        threads.append(threading.current_thread() is threading.main_thread())
        return original(*arguments)

    monkeypatch.setattr(MergedLogs, "traffic", spied)
    logs = Logs({Ref("agents", "a"): log_of("a", "10.0.0.1")})
    assert (await source(with_agents("a"), logs).traffic()).flows
    assert threads == [False]
