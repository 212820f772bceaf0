"""Traffic from files: saved traffic, logs of agents, and flow logs of Hubble and Calico."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from troth.audit.facts.traffic import Flow, Traffic
from troth.audit.scene import Scene
from troth.audit.traffic.agent_lines import AgentLog, read_agent_lines
from troth.audit.traffic.attribution import attributed, merged, nodes_of, tenures_of
from troth.audit.traffic.calico import read_calico
from troth.audit.traffic.document import LARGEST, UnreadableTrafficError, read_traffic
from troth.audit.traffic.hubble import read_hubble
from troth.audit.traffic.names import PodNames
from troth.resources.faults import FaultyManifests, ManifestFault


def saved(files: Iterable[Path]) -> list[Traffic]:
    """Return the traffic in documents that `--save-traffic` wrote; raises `FaultyManifests`."""
    found = []
    for file in files:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST + 1)
        try:
            found.append(read_traffic(raw))
        except UnreadableTrafficError as error:
            sentence = (
                f"is not a document of traffic: {error}; write one with troth learn --save-traffic"
            )
            raise FaultyManifests([ManifestFault(str(file), "", "", sentence)]) from None
    return found


def of_agents(scene: Scene, logs: Iterable[AgentLog], missing: Iterable[str]) -> Traffic:
    """Return the traffic that agents saw, attributed to the pods of a scene."""
    return attributed(logs, tenures_of(scene), missing, nodes_of(scene))


def agent_logs(files: Iterable[Path]) -> list[AgentLog]:
    """Return the logs of agents in files, as `kubectl logs` prints them."""
    found = []
    for file in files:
        with file.open("rb") as lines:
            found.append(read_agent_lines(lines, str(file)))
    return found


def flow_logs(scene: Scene, hubble: Iterable[Path], calico: Iterable[Path]) -> list[Traffic]:
    """Return the traffic in flow logs, attributed to the workloads of a scene."""
    names = PodNames(scene)
    found = []
    for files, read in ((hubble, read_hubble), (calico, read_calico)):
        for file in files:
            with file.open("rb") as lines:
                found.append(read(lines, names))
    return found


def together(parts: Iterable[Traffic]) -> Traffic:
    """Return the traffic of several sources as one.

    Connections that one observer saw in periods that overlap, as in a log and what was saved of it
    before, count once.
    """
    known = list(parts)
    flows: dict[tuple[object, ...], Flow] = {}
    for flow in (each for part in known for each in part.flows):
        key = flow.source, flow.destination, flow.port, flow.protocol, flow.seen_by
        flows[key] = _both(flows[key], flow) if key in flows else flow
    return Traffic(
        tuple(flows.values()),
        min((each.since for each in known if each.since is not None), default=None),
        tuple(dict.fromkeys(sentence for each in known for sentence in each.blind)),
        frozenset(address for each in known for address in each.nodes),
    )


def _both(one: Flow, other: Flow) -> Flow:
    apart = one.last_seen < other.first_seen or other.last_seen < one.first_seen
    return replace(
        merged(one, other),
        connections=one.connections + other.connections
        if apart
        else max(one.connections, other.connections),
    )
