"""NetworkPolicies of others that open what Troth has closed."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from troth.audit.commands import command
from troth.audit.facts.pods.parties import Party
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.network.closed import network_of
from troth.audit.network.policies import Direction, Policy
from troth.audit.network.ports import Ports, Range, common, shown
from troth.audit.network.reach import Network, Opening
from troth.audit.rule import Rule, Scope
from troth.audit.rules.declared import entries, identity_object
from troth.audit.scene import Scene
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time

MOST_OPENINGS = 16
"""Number of openings of one policy that its finding lists."""
MOST_DRAFTS = 64
"""Number of edges that a fix drafts."""
_UNTIL = timedelta(days=30)
"""Time for which a draft accepts a peer without an identity."""

Edges = dict[Ref, dict[str, list[dict[str, Any]]]]
"""Entries to add to the `accepts` and `calls` of identities."""


def _find(scene: Scene, _: str) -> Iterable[Finding]:
    return scene.of_network("TR602", lambda: tuple(_findings(scene)))


def _findings(scene: Scene) -> Iterator[Finding]:
    network = network_of(scene)
    for policy in sorted(network.policies, key=lambda each: each.ref):
        # Troth closes identities also where two trust domains claim the namespace
        claims = scene.world.registry.governance(policy.ref.namespace).claims
        if policy.ref in network.own or not claims:
            continue
        found = list(islice(_openings(scene, network, policy), MOST_OPENINGS))
        if found:
            yield Finding(
                RULE.id,
                Object("NetworkPolicy", policy.ref),
                "it opens the network of identities to peers that they do not declare, because "
                "NetworkPolicies add up; declare the edges that are needed, and delete it",
                tuple(_evidence(scene, each) for each in found),
            )


def _openings(scene: Scene, network: Network, policy: Policy) -> Iterator[Opening]:
    """Yield what a policy opens for pods of identities, once for each identity and peer."""
    known: set[tuple[Ref, str]] = set()
    for party in network.in_namespace(policy.ref.namespace, policy.pods):
        identity = _identity_of(scene, party)
        if identity is None:
            continue
        for opening in network.openings(policy, party):
            if (identity, opening.term.field) not in known:
                known.add((identity, opening.term.field))
                yield opening


def _identity_of(scene: Scene, party: Party) -> Ref | None:
    return next(scene.identities_of(party.namespace, party.labels), None)


def _evidence(scene: Scene, opening: Opening) -> Evidence:
    identity = _identity_of(scene, opening.pods)
    peers, ports = str(opening.term), shown(opening.ports)
    such = ""
    if isinstance(opening.peer, Party):
        such = f", such as {scene.workload_of(opening.peer.workload)}"
    shows = (
        f"lets {peers}{such} reach ServiceIdentity {identity} on {ports}"
        if opening.direction is Direction.INGRESS
        else f"lets ServiceIdentity {identity} reach {peers}{such} on {ports}"
    )
    return Evidence(Object("NetworkPolicy", opening.policy), opening.term.field, shows)


# The way out


def _fix(scene: Scene, finding: Finding) -> Fix:
    """Return drafts of the edges that the policy opens, and what a person must do before it goes.

    Drafts are of named peers only. A policy that opens the network to everybody says nothing about
    the edges that are needed; the traffic does.
    """
    network = network_of(scene)
    policy = next(each for each in network.policies if each.ref == finding.subject.ref)
    drafts: Edges = {}
    steps: dict[str, None] = {}
    for opening in islice(_openings(scene, network, policy), MOST_DRAFTS):
        callee_or_caller = scene.world.registry.identities[_known(scene, opening.pods)]
        step = _draft(scene, network, opening, callee_or_caller, drafts)
        if step:
            steps[step] = None
    namespace, name = finding.subject.ref
    steps["Review each drafted edge, and apply those that are needed."] = None
    delete = command("kubectl", "delete", f"networkpolicy/{name}", f"--namespace={namespace}")
    steps[f"Delete the policy with {delete}, or remove the rules that the finding names."] = None
    patches = [
        Patch(
            identity_object(ref),
            {"spec": {side: [*entries(scene, ref, side), *new] for side, new in sides.items()}},
        )
        for ref, sides in sorted(drafts.items())
    ]
    return Fix(patches=tuple(patches), steps=tuple(steps))


def _known(scene: Scene, party: Party) -> Ref:
    found = _identity_of(scene, party)
    assert found is not None
    return found


def _draft(
    scene: Scene, network: Network, opening: Opening, mine: ServiceIdentity, drafts: Edges
) -> str:
    """Add the edges of one opening to the drafts; return what a person must do as well."""
    term, inbound = opening.term, opening.direction is Direction.INGRESS
    if term.everybody or (term.block is not None and term.block.prefixlen == 0):
        return (
            "See in status.traffic, or with `troth learn`, which of the peers are needed, because "
            f"{term.field} of the policy admits everybody."
        )
    if term.block is not None:
        return _outside(scene, opening, mine, drafts)
    unknown = set()
    for peer, ports in islice(network.every_peer(opening), MOST_DRAFTS):
        other = _identity_of(scene, peer)
        if other is None:
            unknown.add(str(scene.workload_of(peer.workload)))
        elif other != mine.ref:
            theirs = scene.world.registry.identities[other]
            caller, callee = (theirs, mine) if inbound else (mine, theirs)
            _edge(caller, callee, ports, drafts)
    if not unknown:
        return ""
    return f"Declare a ServiceIdentity for {', '.join(sorted(unknown)[:8])}, then its edges."


def _edge(caller: ServiceIdentity, callee: ServiceIdentity, opened: Ports, drafts: Edges) -> None:
    if callee.spec.authentication.gateway_only or caller.spec.authentication.gateway_only:
        return
    names = _names(callee, opened)
    if names:
        _add(drafts, callee.ref, "accepts", _entry("from", caller.ref, callee.ref, names))
        _add(drafts, caller.ref, "calls", _entry("to", callee.ref, caller.ref, names))


def _outside(scene: Scene, opening: Opening, mine: ServiceIdentity, drafts: Edges) -> str:
    """Draft the entry for a block of addresses. A call to one needs a name that nobody knows."""
    block = str(opening.term.block)
    if opening.direction is Direction.EGRESS:
        return f"Add the destination {block} to calls of ServiceIdentity {mine.ref} as external."
    names = _names(mine, opening.ports)
    if names and mine.spec.authentication.gateway_only is None:
        peer = {
            "cidrs": [block],
            "reason": f"NetworkPolicy {opening.policy} admitted it",
            "expiresAt": format_time(scene.now + _UNTIL),
        }
        _add(drafts, mine.ref, "accepts", {"unverified": peer, "ports": names})
    return ""


def _names(callee: ServiceIdentity, opened: Ports) -> list[str]:
    """Return the names of an identity's ports that are among the opened ones."""
    return [
        each.name
        for each in callee.spec.workload.ports
        if common(opened, (Range(each.protocol.value, each.port, each.port),))
    ]


def _entry(side: str, peer: Ref, seen_from: Ref, ports: list[str]) -> dict[str, Any]:
    place = {} if peer.namespace == seen_from.namespace else {"namespace": peer.namespace}
    return {side: {"name": peer.name, **place}, "ports": ports}


def _add(drafts: Edges, ref: Ref, side: str, entry: dict[str, Any]) -> None:
    listed = drafts.setdefault(ref, {}).setdefault(side, [])
    if entry not in listed:
        listed.append(entry)


RULE = Rule(
    id="TR602",
    name="WidenedByOthers",
    title="A NetworkPolicy of somebody else opens what Troth has closed.",
    severity=Severity.HIGH,
    reads=frozenset({"NetworkPolicy", "Namespace", "Pod", "ServiceIdentity", "TrustDomain"}),
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,
)
