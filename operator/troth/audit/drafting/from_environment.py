"""Edges that the environment and the arguments of containers name."""

from collections.abc import Iterator

from troth.audit.drafting.ends import Clue, Edge, Note, Subject
from troth.audit.drafting.services import backends
from troth.audit.drafting.subjects import Directory
from troth.audit.facts.pods.workloads import Workload
from troth.audit.scene import Scene


def edges(scene: Scene, directory: Directory) -> Iterator[Edge | Note]:
    """Yield the edges from each subject to what its containers name as host and port."""
    for member in directory.members:
        caller = directory.subject_of(member.object)
        if caller is None:
            continue
        for address in member.spec.addresses:
            place = f"{member.object} {member.path}.{address.field}"
            found = backends(
                scene, directory, address.host, address.port, member.object.ref.namespace
            )
            for callee, port, protocol in found:
                clue = Clue(f"{address.host}:{address.port} in {place}")
                if not isinstance(callee, Workload):
                    yield Edge(caller, callee, port, protocol, clue)
                    continue
                subject = directory.subject_of(callee.object)
                if subject is None:
                    yield without_identity(caller, callee, port, clue, directory)
                else:
                    yield Edge(caller, subject, port, protocol, clue)


def without_identity(
    caller: Subject, callee: Workload, port: int, clue: Clue, directory: Directory
) -> Note:
    """Return the note about a call to a workload for which there is no identity."""
    why = directory.why_no_draft(callee.object)
    return Note(
        caller, f"Review: it calls {callee.object} on port {port} ({clue.sentence()}), {why}"
    )
