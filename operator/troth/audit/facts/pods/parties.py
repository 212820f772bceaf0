"""Parties of the network: sets of pods that no NetworkPolicy tells apart."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from troth.audit.facts.pods.pod_spec import PodSpec
from troth.audit.facts.pods.running import OF_REVISIONS
from troth.audit.facts.pods.workloads import Pod
from troth.audit.finding import Object

IPV4 = 4


@dataclass(frozen=True, slots=True)
class Party:
    """Pods of a workload with the same labels and named ports, at addresses of one IP version."""

    workload: Object
    items: frozenset[tuple[str, str]]
    """Labels, without those whose values controllers generate."""
    named: tuple[tuple[str, str, int], ...]
    """Name, protocol and number of each named port."""
    version: int
    """Version of IP, 4 or 6."""

    @property
    def namespace(self) -> str:
        """Namespace of the pods."""
        return self.workload.ref.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the pods."""
        return dict(self.items)


def parties_of(pod: Pod) -> Iterator[Party]:
    """Yield the parties of a pod, one for each version of IP.

    Pods that have ended and pods in the host network have none.
    """
    if not pod.running or pod.spec.host_network:
        return
    versions = {ip_address(each).version for each in pod.addresses if _is_address(each)}
    yield from _parties(pod.workload, pod.labels, pod.spec, versions or {IPV4})


def parties_of_template(
    workload: Object, labels: Mapping[str, str], spec: PodSpec
) -> Iterator[Party]:
    """Yield the party of a pod template, for files, which have no pods."""
    if not spec.host_network:
        yield from _parties(workload, labels, spec, {IPV4})


def _parties(
    workload: Object, labels: Mapping[str, str], spec: PodSpec, versions: Iterable[int]
) -> Iterator[Party]:
    items = frozenset(each for each in labels.items() if each[0] not in OF_REVISIONS)
    named = tuple((each.name, each.protocol, each.number) for each in spec.ports if each.name)
    for version in sorted(versions):
        yield Party(workload, items, named, version)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
