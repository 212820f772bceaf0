"""Findings of `troth check --traffic`: connections that were seen and that would be denied."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from troth.audit.facts.traffic import Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.audit.traffic.verdicts import judged
from troth.cli.evaluation.finding import Finding, Severity
from troth.cli.evaluation.rehearse import Rehearsed
from troth.cli.inputs.access import connected
from troth.cli.inputs.watched import watched_by
from troth.cli.learn.collect import read_cluster, read_manifests
from troth.cli.learn.sources import saved
from troth.resources.identity.spec import Enforcement
from troth.resources.references import Ref
from troth.resources.reported import PeerTraffic, TrafficDirection, TrafficVerdict
from troth.resources.schema.sentences import counted

IDENTITY = "ServiceIdentity"
REASON, UNKNOWN, NOT_SEEN = "SeenTrafficDenied", "SeenTrafficUnjudged", "TrafficNotSeen"
NAMED = 5
"""Maximum number of peers that a message names."""
NAMED_PORTS = 3
"""Maximum number of ports that it names for each."""
_DAY = timedelta(days=1)

Manifest = dict[str, Any]
Denied = Mapping[Ref, tuple[PeerTraffic, ...]]


@dataclass(frozen=True, slots=True)
class SeenTraffic:
    """Traffic from a file, and a scene with the workloads that it names."""

    traffic: Traffic
    scene: Scene


def seen_traffic(  # noqa: PLR0917 - the options of the command
    file: Path,
    manifests: Sequence[Path],
    namespace: str,
    own_namespace: str,
    kubeconfig: Path | None,
    context: str | None,
    watched_namespaces: str,
) -> SeenTraffic:
    """Return the traffic of a file, with the workloads of a cluster and of manifests.

    Raises `FaultyManifests` or `OSError`.
    """
    (traffic,) = saved([file])
    if kubeconfig is not None:
        cluster = _of_cluster(kubeconfig, context, own_namespace, watched_namespaces)
        scene = asyncio.run(cluster)
    else:
        scene = Scene(own_namespace, in_cluster=True)
        scene.watch(watched_by(watched_namespaces, (), own_namespace))
    read_manifests(manifests, namespace or "default", scene)
    return SeenTraffic(traffic, scene)


async def _of_cluster(
    kubeconfig: Path, context: str | None, own_namespace: str, watched_namespaces: str
) -> Scene:
    async with connected(kubeconfig, context) as server:
        return await read_cluster(server, [], own_namespace, datetime.now(UTC), watched_namespaces)


def traffic_findings(rehearsed: Rehearsed, seen: SeenTraffic) -> Iterator[Finding]:
    """Yield a finding for each enforced identity that would deny connections that were seen.

    Of identities that are not among the manifests, only what the manifests change is reported.
    """
    scene, basis = seen.scene, rehearsed.basis
    known, unknown = _known(seen)
    scene.now, scene.traffic = rehearsed.now, known
    yield from sight_findings(seen)
    before, _ = _denied(scene, rehearsed.start.values(), ())
    gone = [each for each in rehearsed.start if each not in rehearsed.objects]
    after, unjudged = _denied(scene, rehearsed.objects.values(), gone)
    for ref, peers in after.items():
        ours = (IDENTITY, ref) in basis.manifests.documents
        new = set(map(_place, peers)) - set(map(_place, before.get(ref, ())))
        if ours or new:
            listed = peers if ours else tuple(each for each in peers if _place(each) in new)
            yield _finding(rehearsed, ref, listed, _period(rehearsed.now, seen.traffic))
    for ref, number in unjudged.items():
        yield Finding(
            Severity.NOTICE,
            UNKNOWN,
            f"{counted(number, 'connection')} of {ref.name} with pods that are gone were not "
            "judged, because the labels of these pods are not known; watch again, or look for "
            "their callers in the output of troth learn",
            kind=IDENTITY,
            namespace=ref.namespace,
            name=ref.name,
        )
    for each in unknown:
        yield Finding(
            Severity.NOTICE,
            UNKNOWN,
            f"the traffic of {each} was not judged, because its labels are not known; add its "
            "manifest with -f or --assume, or name its cluster with --kubeconfig",
        )


def sight_findings(seen: SeenTraffic) -> Iterator[Finding]:
    """Yield a notice for each gap in what was seen: a connection there is in no finding."""
    traffic = seen.traffic
    gaps = [f"the traffic has a gap: {each}" for each in traffic.blind]
    if traffic.since is None:
        gaps.append(
            "nobody watched the traffic: it has no time since which connections are seen; collect "
            "it with troth learn --save-traffic"
        )
    gaps += [
        f"{kind} objects could not be read ({reason}), so connections of theirs may be missing"
        for kind, reason in sorted(seen.scene.hidden.items())
    ]
    yield from (Finding(Severity.NOTICE, NOT_SEEN, each) for each in gaps)


def _finding(
    rehearsed: Rehearsed, ref: Ref, peers: tuple[PeerTraffic, ...], period: str
) -> Finding:
    steps = ("spec", "enforcement")
    manifests = rehearsed.basis.manifests
    place = manifests.find(IDENTITY, ref, steps) or manifests.find(IDENTITY, ref, ())
    file, line = place or ("", 0)
    every: dict[str, list[PeerTraffic]] = {}
    for each in peers:
        every.setdefault(each.peer, []).append(each)
    named = [shown for each in list(every.values())[:NAMED] for shown in _shown(each)]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    seen = f"{counted(len(every), 'peer')} seen{period}"
    message = (
        f"enforcing {ref.name} would deny {seen}: {', '.join(named)}{more}; "
        "declare them, or use enforcement: Observe"
    )
    return Finding(
        Severity.WARNING,
        REASON,
        message,
        kind=IDENTITY,
        namespace=ref.namespace,
        name=ref.name,
        field="spec.enforcement",
        file=file,
        line=line,
    )


def _period(now: datetime, traffic: Traffic) -> str:
    """Return the time for which somebody watched. It ended with the last connection."""
    if traffic.since is None:
        return ""
    end = max((each.last_seen for each in traffic.flows), default=now)
    days = max(1, round((end - traffic.since) / _DAY))
    number = f"{days} days" if days > 1 else "day"
    return (
        f" in the {number} until {end:%Y-%m-%d}" if now - end > _DAY else f" in the last {number}"
    )


def _shown(of_peer: list[PeerTraffic]) -> Iterator[str]:
    """Yield how one peer is named, for each direction of its connections."""
    for direction in TrafficDirection:
        found = [each for each in of_peer if each.direction is direction]
        if found:
            way = "from" if direction is TrafficDirection.INBOUND else "to"
            ports = ", ".join(f"{each.port}/{each.protocol}" for each in found[:NAMED_PORTS])
            if len(found) > NAMED_PORTS:
                ports += f" and {len(found) - NAMED_PORTS} more"
            number = sum(each.connections for each in found)
            yield f"{way} {found[0].peer} on {ports} ({counted(number, 'connection')})"


def _place(peer: PeerTraffic) -> tuple[str, str, int, str]:
    return peer.peer, peer.direction.value, peer.port, peer.protocol


def _known(seen: SeenTraffic) -> tuple[Traffic, list[Object]]:
    """Return the traffic between ends whose labels are known, and the other workloads."""
    scene = seen.scene
    known = {
        each.object for namespace in scene.namespaces() for each in scene.workloads_in(namespace)
    } | {
        scene.workload_of(each.workload)
        for namespace in scene.namespaces()
        for each in scene.pods_in(namespace)
    }
    unknown: set[Object] = set()
    flows = []
    for flow in seen.traffic.flows:
        ends = {each.workload for each in (flow.source, flow.destination) if each.workload}
        unknown |= ends - known
        if ends <= known:
            flows.append(flow)
    return replace(seen.traffic, flows=tuple(flows)), sorted(unknown)


def _denied(
    scene: Scene, objects: Iterable[Manifest], gone: Iterable[tuple[str, Ref]]
) -> tuple[Denied, dict[Ref, int]]:
    """Return what each enforced identity would deny, once the scene has these objects, and how many
    connections have no verdict.
    """
    for kind, ref in gone:
        scene.remove(kind, ref)
    for each in objects:
        if each["kind"] not in ("Secret", "NetworkPolicy", "ConfigMap"):  # Troth's own
            metadata = {
                key: value for key, value in each["metadata"].items() if key != "resourceVersion"
            }
            scene.put({**each, "metadata": metadata})
    identities = scene.world.registry.identities
    enforced = {
        ref for ref, each in identities.items() if each.spec.enforcement is Enforcement.ENFORCE
    }
    verdicts = judged(scene)
    denied = {
        ref: tuple(each for each in peers if each.verdict is TrafficVerdict.WOULD_BE_DENIED)
        for ref, peers in verdicts.peers.items()
        if ref in enforced
    }
    unjudged = {ref: number for ref, number in verdicts.unjudged.items() if ref in enforced}
    return {ref: peers for ref, peers in denied.items() if peers}, unjudged
