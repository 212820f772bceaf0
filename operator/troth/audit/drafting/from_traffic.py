"""Edges that connections show."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from troth.audit.drafting.ends import (
    ApiServer,
    Caller,
    Clue,
    Edge,
    Network,
    NodeItself,
    Note,
    Selected,
    Subject,
)
from troth.audit.drafting.from_environment import without_identity
from troth.audit.drafting.places import Places
from troth.audit.drafting.services import Backend, behind_address
from troth.audit.drafting.subjects import Directory, outside
from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.traffic import Endpoint, Flow
from troth.audit.scene import Scene
from troth.audit.traffic.replies import without_replies

DNS = 53
API_PORT = 6443


def edges(scene: Scene, directory: Directory) -> Iterator[Edge | Note]:
    """Yield the edges that the scene's traffic shows. Lookups of names are left out."""
    reader = _Reader(scene, directory, Places.of(scene))
    for flow in without_replies(scene.traffic.flows, reader.declared):
        if flow.port == 0 or flow.protocol not in ("TCP", "UDP"):
            continue
        yield from reader.edges_of(flow)


@dataclass(frozen=True, slots=True)
class _Reader:
    scene: Scene
    directory: Directory
    places: Places

    def declared(self, flow: Flow) -> bool:
        """Return whether the destination declares the port of a flow."""
        subject = self._subject(flow.destination)
        return subject is not None and subject.declares(flow.port, flow.protocol)

    def edges_of(self, flow: Flow) -> Iterator[Edge | Note]:
        """Yield the edges that a flow shows."""
        caller, callee = self._subject(flow.source), self._subject(flow.destination)
        if callee is not None:
            yield self._to_subject(flow, caller, callee)
        elif caller is not None and flow.port != DNS:
            yield from self._from_subject(flow, caller)

    def _to_subject(self, flow: Flow, caller: Subject | None, callee: Subject) -> Edge | Note:
        other = caller or self._outside(flow.source)
        if other is not None:
            return Edge(other, callee, flow.port, flow.protocol, _clue(flow))
        return Note(
            callee,
            f"Review: {_gone(flow.source)} called port {flow.port} ({_clue(flow).sentence()}).",
        )

    def _outside(self, source: Endpoint) -> Caller | None:
        if source.workload is not None:
            member = self.directory.member(source.workload)
            if member is None:
                return None
            if member.spec.host_network:
                return NodeItself()
            return Selected.workload(member.object.ref.namespace, outside(member))
        if source.address in self.places.nodes:
            return NodeItself()
        if not source.address or source.address in self.places.pod_networks:
            return None
        return Network(str(ip_network(source.address)))

    def _from_subject(self, flow: Flow, caller: Subject) -> Iterator[Edge | Note]:
        place, address = flow.destination.workload, flow.destination.address
        if place is not None:
            member = self.directory.member(place)
            if member is None:
                yield self._to_gone(flow, caller)
            else:
                yield without_identity(caller, member, flow.port, _clue(flow), self.directory)
        elif (address, flow.port) in self.places.api_server or (
            address in self.places.nodes and flow.port == API_PORT
        ):
            yield Edge(caller, ApiServer(), flow.port, flow.protocol, _clue(flow))
        elif (found := behind_address(self.scene, self.directory, address, flow.port)) is not None:
            yield from (self._to_backend(flow, caller, each) for each in found)
        elif not address or address in self.places.pod_networks:
            yield self._to_gone(flow, caller)
        else:
            network = Network(str(ip_network(address)))
            yield Edge(caller, network, flow.port, flow.protocol, _clue(flow))

    def _to_backend(self, flow: Flow, caller: Subject, backend: Backend) -> Edge | Note:
        callee, port, protocol = backend
        if not isinstance(callee, Workload):
            return Edge(caller, callee, port, protocol, _clue(flow))
        subject = self.directory.subject_of(callee.object)
        if subject is None:
            return without_identity(caller, callee, port, _clue(flow), self.directory)
        return Edge(caller, subject, port, protocol, _clue(flow))

    @staticmethod
    def _to_gone(flow: Flow, caller: Subject) -> Note:
        return Note(
            caller,
            f"Review: it called port {flow.port} of {_gone(flow.destination)} "
            f"({_clue(flow).sentence()}).",
        )

    def _subject(self, end: Endpoint) -> Subject | None:
        return None if end.workload is None else self.directory.subject_of(end.workload)


def _clue(flow: Flow) -> Clue:
    return Clue("", flow.connections, flow.first_seen, flow.last_seen, flow.seen_by)


def _gone(end: Endpoint) -> str:
    if end.workload is not None:
        return f"{end.workload}, which does not exist now"
    return f"{end.address or 'a network without an address'}, which no pod has now"
