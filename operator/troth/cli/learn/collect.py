"""Collects what `troth learn` reads: the objects of a cluster, or those in files."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from troth.audit.facts.pods.workloads import TEMPLATES, pod
from troth.audit.scene import Scene
from troth.audit.traffic.agent_lines import (
    AGENT_LABELS,
    LOG_BYTES,
    LOG_LINES,
    AgentLog,
    is_agent,
    no_agent,
    read_agent_lines,
)
from troth.cli.inputs.access import FORBIDDEN, NOT_FOUND, PersonalServer, refusal
from troth.cli.inputs.documents import ValueCount, has_too_many, read_stream
from troth.cli.inputs.files import read_files
from troth.cli.inputs.watched import watched_by
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.manifests import Manifest, is_ours, parse_resource
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.schema.scalars import DNS_LABEL

CLUSTER_SCOPED = ("Namespace", "Node", "TrustDomain")
READ = (
    "Namespace",
    "TrustDomain",
    "ServiceIdentity",
    "Job",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Pod",
    "Service",
    "NetworkPolicy",
    "EndpointSlice",
    "Node",
)
"""Kinds that `troth learn` reads, in this order. None has the content of a Secret."""

AGENTS = ",".join(f"{name}={value}" for name, value in AGENT_LABELS.items())
"""Selector of the pods of agents."""
_NAME = re.compile(rf"(?=.{{1,253}}\Z){DNS_LABEL}(\.{DNS_LABEL})*")
_NAMESPACE = re.compile(DNS_LABEL)


async def read_cluster(
    server: PersonalServer,
    namespaces: list[str],
    own_namespace: str,
    now: datetime,
    watched_namespaces: str,
) -> Scene:
    """Return the scene of a cluster; kinds that the user may not list in full are `hidden`.

    A kind is listed in all namespaces, because callers may be anywhere. If that is forbidden, it is
    listed in `namespaces`. `watched_namespaces` are those of the option.
    """
    scene = Scene(own_namespace, now, in_cluster=True)
    scene.watch(watched_by(watched_namespaces, (), own_namespace))
    for kind in READ:
        try:
            found, limit = await _listed(server, kind, namespaces)
        except ApiError as error:
            if error.status == NOT_FOUND:
                continue  # the CustomResourceDefinition of a kind that is not installed
            if error.status != FORBIDDEN:
                raise
            scene.hidden[kind] = refusal(error)
            continue
        if limit:
            scene.hidden[kind] = limit
        for each in found:
            scene.put(each)
        if kind == "TrustDomain":  # before all namespaced kinds
            scene.watch(watched_by(watched_namespaces, found, own_namespace))
    return scene


async def _listed(
    server: PersonalServer, kind: str, namespaces: list[str]
) -> tuple[list[Manifest], str]:
    """Return the objects of a kind, and what they lack, empty if nothing."""
    if kind == "EndpointSlice":
        return await server.listed(kind, "default"), ""
    try:
        return await server.listed(kind), ""
    except ApiError as error:
        if error.status != FORBIDDEN or not namespaces or kind in CLUSTER_SCOPED:
            raise
    found = [each for name in namespaces for each in await server.listed(kind, name)]
    where = "namespace" if len(namespaces) == 1 else "namespaces"
    limit = f"listed in the {where} {', '.join(namespaces)} alone; callers elsewhere are not seen"
    return found, limit


async def read_agents(server: PersonalServer, namespace: str) -> tuple[list[AgentLog], list[str]]:
    """Return the logs of the node agents in a namespace, and why others cannot be read.

    A log may have 32 MiB, so each is parsed before the next is read.
    """
    logs: list[AgentLog] = []
    missing: list[str] = []
    selection = Selection("Pod", namespace=namespace, labels=AGENTS)
    found = [pod(item) async for page in server.pages(selection) for item in page["items"]]
    agents = [each for each in found if is_agent(each, namespace)]
    for each in agents:
        ref, node = each.ref, each.node or "unknown"
        try:
            logs.append(await _log(server, ref))
        except ApiError as error:
            missing.append(f"node {node}: the log of Pod {ref} cannot be read: {refusal(error)}")
    if not agents:
        missing.append(no_agent(namespace))
    return logs, missing


async def _log(server: PersonalServer, pod: Ref) -> AgentLog:
    raw = await server.log(pod, most_bytes=LOG_BYTES, last_lines=LOG_LINES)
    return read_agent_lines(raw.splitlines(), f"Pod {pod}")


def invalid(scene: Scene) -> Iterator[str]:
    """Yield a sentence for each resource of Troth in a cluster that is not valid, so not used."""
    for kind in ("TrustDomain", "ServiceIdentity"):
        for manifest in scene.objects(kind):
            try:
                parse_resource({"apiVersion": API_VERSION, **manifest})
            except FaultyManifests as error:
                for each in error.faults:
                    yield f"{each.subject}: omitted: {each.field}: {each.sentence}"


def read_manifests(files: Iterable[Path], namespace: str, scene: Scene) -> None:
    """Put the objects in files into a scene; raises `FaultyManifests`.

    `namespace` is that of an object which names none.
    """
    faults: list[ManifestFault] = []
    count = ValueCount()
    for source, text in read_files(files):
        if has_too_many(faults, source):
            break
        if isinstance(text, ManifestFault):
            faults.append(text)
            continue
        documents, more = read_stream(text, source, count)
        faults += more
        for document in documents:
            if has_too_many(faults, source):
                break
            try:
                for each in _usable(document.manifest, namespace):
                    scene.put(each)
            except FaultyManifests as error:
                faults += [
                    replace(each, source=source, line=document.line(each.steps))
                    for each in error.faults
                ]
    if faults:
        raise FaultyManifests(faults)


def _usable(manifest: Manifest, namespace: str) -> Iterator[Manifest]:
    """Yield an object of a kind that is read, with its namespace.

    Nobody has validated the names in files, and a namespace becomes the name of a file.
    """
    kind = manifest["kind"]
    if kind not in READ and kind not in TEMPLATES and not is_ours(manifest):
        return
    metadata: Any = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise _faulty(kind, "metadata.name", "write metadata with a name")
    known = KIND_BY_NAME.get(kind)
    scoped = kind in CLUSTER_SCOPED or (known is not None and not known.namespaced)
    if not scoped:
        metadata = {**metadata, "namespace": str(metadata.get("namespace") or namespace)}
        if not _NAMESPACE.fullmatch(metadata["namespace"]):
            raise _faulty(kind, "metadata.namespace", "write a DNS label such as payments")
    name = _NAMESPACE if kind == "Namespace" else _NAME
    if not name.fullmatch(metadata["name"]):
        raise _faulty(kind, "metadata.name", "write a DNS name such as payments")
    found = {**manifest, "metadata": metadata}
    if is_ours(found):
        parse_resource(found)
    yield found


def _faulty(kind: str, field: str, sentence: str) -> FaultyManifests:
    return FaultyManifests([ManifestFault("", kind, field, sentence)])
