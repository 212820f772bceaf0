"""Resolves what programs name, hosts and cluster IPs, to the workloads behind Services."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from troth.audit.drafting.ends import ApiServer, Callee, Host, Network
from troth.audit.drafting.subjects import Directory
from troth.audit.facts.pods.workloads import Workload
from troth.audit.scene import Scene
from troth.resources.references import Ref

API_SERVER = Ref("default", "kubernetes")
Backend = tuple[Callee | Workload, int, str]
"""A workload, or something outside, with port and protocol."""


def backends(
    scene: Scene, directory: Directory, host: str, port: int, namespace: str
) -> list[Backend]:
    """Return what a host and a port lead to, as seen by a program in a namespace.

    Names that are no Service and no full DNS name lead to nothing: they may not be hosts at all.
    """
    address = _address(host)
    if address is not None:
        if address.is_loopback or address.is_unspecified:
            return []
        service = _by_address(scene, host)
        if service is None:
            return [(Network(str(ip_network(address))), port, "TCP")]
        return list(_behind(directory, service, port))
    if host == "localhost" or host.endswith(".localhost"):
        return []
    for ref in _candidates(host, namespace):
        service = scene.object("Service", ref)
        if service is not None:
            return list(_behind(directory, service, port))
        if ref == API_SERVER:
            return [(ApiServer(), port, "TCP")]
    if _is_public(host):
        return [(Host(host), port, "TCP")]
    return []


def behind_address(
    scene: Scene, directory: Directory, address: str, port: int
) -> list[Backend] | None:
    """Return what a cluster IP leads to, None if no Service has it."""
    service = _by_address(scene, address)
    return None if service is None else list(_behind(directory, service, port))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _candidates(host: str, namespace: str) -> Iterator[Ref]:
    """Yield the Services that a host may mean, the likeliest first.

    A host is a Service's name, with or without namespace, `svc` and the cluster's domain. In front
    there may be the name of a pod of a StatefulSet.
    """
    labels = host.rstrip(".").split(".")
    if "svc" in labels[1:]:
        labels = labels[: labels.index("svc", 1)]
        if len(labels) > 1:
            yield Ref(labels[-1], labels[-2])
        return
    match labels:
        case [name]:
            yield Ref(namespace, name)
        case [first, second]:
            yield Ref(second, first)
            yield Ref(namespace, second)
        case [_, second, third]:
            yield Ref(third, second)


def _is_public(host: str) -> bool:
    top = host.rpartition(".")[2]
    return "." in host and top.isalpha() and len(top) > 1 and top not in ("local", "svc", "cluster")


def _by_address(scene: Scene, address: str) -> dict[str, Any] | None:
    for service in scene.objects("Service"):
        spec = service.get("spec") or {}
        if address in (spec.get("clusterIPs") or (spec.get("clusterIP"),)):
            return service
    return None


def _behind(directory: Directory, service: dict[str, Any], port: int) -> Iterator[Backend]:
    ref, spec = Ref.of(service), service.get("spec") or {}
    if ref == API_SERVER:
        yield ApiServer(), port, "TCP"
        return
    if isinstance(spec.get("externalName"), str):
        if _is_public(spec["externalName"]):
            yield Host(spec["externalName"]), port, "TCP"
        return
    selector = spec.get("selector")
    if not isinstance(selector, dict) or not selector:
        return
    for member in directory.members_in(ref.namespace):
        if all(member.labels.get(key) == value for key, value in selector.items()):
            for number, protocol in _targets(member, spec, port):
                yield member, number, protocol


def _targets(member: Workload, spec: dict[str, Any], port: int) -> Iterator[tuple[int, str]]:
    """Yield the ports of a workload's pods to which a Service's port leads.

    A client of a headless Service names the port of the pods.
    """
    known = [each for each in spec.get("ports") or () if each.get("port") == port]
    if not known:
        declared = {(each.number, each.protocol) for each in member.spec.ports}
        yield from (each for each in ((port, "TCP"), (port, "UDP")) if each in declared)
    for each in known:
        protocol = str(each.get("protocol") or "TCP")
        target = each.get("targetPort") or port
        if isinstance(target, int):
            yield target, protocol
            continue
        for own in member.spec.ports:
            if (own.name, own.protocol) == (target, protocol):
                yield own.number, protocol
