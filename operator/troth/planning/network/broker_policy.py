"""The NetworkPolicy of a broker: it admits identities that have a grant at the broker.

It also admits Troth and the broker's own pods, and denies everything else. Other clients, such as a
monitoring system or clients unknown to Troth, need an additional NetworkPolicy.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

from troth.planning import verdicts
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.rules import BrokerGrants
from troth.planning.network.client_shares import over_share
from troth.planning.network.external_peers import pods_in, selector
from troth.planning.network.live_peers import CurrentPolicy, PeerRule, Side, written
from troth.planning.network.rules import Rule, distinct, numbers, ports_of, spec_of
from troth.planning.owned_objects import policy_manifest, rechecks, taken
from troth.planning.parts import Part
from troth.planning.steps.objects import Apply, removal
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.messaging.message_broker import BrokerMode, BrokerWorkload, MessageBroker
from troth.resources.messaging.message_broker_status import LISTED_CLIENTS, every_client
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.topics.evaluation import undecided
from troth.world.facts.objects import Content, Manifest
from troth.world.facts.owned import OwnedObject
from troth.world.index.broker_keys import identity_of

TYPE = "NetworkEnforced"
OPERATOR = LabelSelector(match_labels={"troth.dev/component": "operator"})
"""Selector of the operator's pods in its namespace; the chart sets the label."""


@dataclass(frozen=True, slots=True)
class BrokerClients:
    """Grants at a broker, and what decides which identities its NetworkPolicy admits.

    `policy` is its NetworkPolicy. `own_namespace` is Troth's.
    """

    broker: MessageBroker
    grants: BrokerGrants
    policy: OwnedObject[Content]
    own_namespace: str
    registry: Registry
    messaging: Messaging


def plan_broker_network(known: BrokerClients, now: datetime) -> Part:
    """Return the part on the NetworkPolicy of a broker with these grants."""
    broker, existing = known.broker, known.policy.fact
    fault = verdicts.faulty(TYPE, unsupported(broker))
    if fault is not None:
        return _part(fault)
    if broker.spec.mode is not BrokerMode.ENFORCE or broker.spec.workload is None:
        return _part(_unwritten(broker), removal("NetworkPolicy", existing, broker))
    conflict = verdicts.faulty(TYPE, taken(known.policy, broker, now))
    if conflict is not None:
        return replace(_part(conflict), dues=rechecks(known.policy))
    staying = _staying(known)
    clients = tuple(_clients(known, broker.spec.workload, staying))
    without_room = over_share(clients, known.registry)
    admitted = [each for each in clients if each.ref not in without_room]
    manifest = _broker_policy(known, broker.spec.workload, admitted)
    over = existing.resource_version if existing is not None and staying else ""
    if existing is None:
        verdict = verdicts.false(TYPE, "PolicyPending", "the NetworkPolicy is being written")
    elif without_room:
        verdict = verdicts.true(TYPE, "ShareExceeded", _without_room(without_room))
    else:
        verdict = verdicts.true(TYPE, "Enforced", "the NetworkPolicy is in place")
    verdict = verdicts.faulty(TYPE, known.policy.write_fault) or verdict
    return _part(verdict, (Apply(manifest, over=over),), without_room)


def _part(
    verdict: Verdict, steps: tuple[Step, ...] = (), without_room: frozenset[Ref] = frozenset()
) -> Part:
    status = {"clients_without_room": _listed(without_room)}
    return Part(verdicts=(verdict,), steps=steps, status=status)


def _listed(clients: frozenset[Ref]) -> tuple[str, ...] | None:
    """Return clients as the status lists them, summed up by namespace if they are many."""
    by_namespace: dict[str, list[str]] = {}
    for each in sorted(clients):
        by_namespace.setdefault(each.namespace, []).append(str(each))
    left = len(clients)
    for namespace, found in sorted(by_namespace.items(), key=lambda each: -len(each[1])):
        if left <= LISTED_CLIENTS:
            break
        left -= len(found) - 1
        by_namespace[namespace] = [every_client(namespace)]
    return tuple(chain.from_iterable(by_namespace.values()))[:LISTED_CLIENTS] or None


def _broker_policy(
    known: BrokerClients, workload: BrokerWorkload, clients: Sequence[PeerRule]
) -> Manifest:
    """Return the NetworkPolicy of a broker.

    It admits the broker's own pods on all ports, and Troth and the clients on the client ports.
    """
    spec = spec_of(
        selector(workload.pod_selector),
        ingress=[*_always(known, workload), *distinct(each.rule for each in clients)],
    )
    return policy_manifest(known.policy.ref, known.broker, spec, written(clients).text)


def _always(known: BrokerClients, workload: BrokerWorkload) -> list[Rule]:
    ports = numbers(workload.ports)
    return [
        {"from": [pods_in(known.broker.ref.namespace, workload.pod_selector)]},
        {"from": [pods_in(known.own_namespace, OPERATOR)], "ports": ports},
    ]


def _clients(
    known: BrokerClients, workload: BrokerWorkload, staying: set[Ref]
) -> Iterator[PeerRule]:
    """Yield the rules of the identities that have a grant.

    For identities whose grants are unsettled, open ports stay open and no new one opens.
    """
    ports, identities = ports_of(workload), known.registry.identities
    live = _identities(known.broker, known.grants.live)
    current = CurrentPolicy.of(known.policy.fact if staying else None)
    for ref in sorted(live | staying):
        identity = identities.get(ref)
        pods = identity.spec.workload.pod_selector if identity is not None else None
        if ref in live and pods is not None:
            yield PeerRule(Side.FROM, ref, pods_in(ref.namespace, pods), ports)
        else:
            yield from current.kept(Side.FROM, ref, pods, ports)


def _staying(known: BrokerClients) -> set[Ref]:
    """Return the identities without a live grant whose open ports stay open.

    These have a retained or suspended grant, or their grants are unknown because the identity, or a
    policy that may name it, cannot be read.
    """
    broker, grants, messaging = known.broker, known.grants, known.messaging
    identities = chain(known.registry.invalid_identities, messaging.using())
    unknown = undecided(known.registry, messaging, identities)
    return (_identities(broker, grants.staying) | unknown) - _identities(broker, grants.live)


def _identities(broker: MessageBroker, principals: Iterable[str]) -> set[Ref]:
    prefix = broker.spec.owns.principal_prefix
    found = (identity_of(prefix, principal) for principal in principals)
    return {ref for ref in found if ref is not None}


def _without_room(clients: frozenset[Ref]) -> str:
    """Return the message for clients that the policy does not admit."""
    namespaces = verdicts.some(sorted({each.namespace for each in clients}))
    return (
        f"the NetworkPolicy is in place without {len(clients)} clients, because it has no room for "
        f"all, and these namespaces use more than their share: {namespaces}; the newest identities "
        "there cannot connect; remove their grants, or divide them over several MessageBrokers"
    )


def _unwritten(broker: MessageBroker) -> Verdict:
    if broker.spec.mode is not BrokerMode.ENFORCE:
        message = f"no NetworkPolicy is written, because mode is {broker.spec.mode}"
        return verdicts.true(TYPE, "Observing", message)
    message = (
        "no NetworkPolicy is written, because workload is not set; identities reach a broker "
        "outside the cluster through calls.external"
    )
    return verdicts.true(TYPE, "OutsideCluster", message)
