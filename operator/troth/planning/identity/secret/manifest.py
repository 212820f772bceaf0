"""Public part of an identity's Secret: its roots, its `identity.json` and its webhook keys."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from troth.documents.identity.reading import listed, parsed, string_map
from troth.documents.identity.writing import Peers, identity_document
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS, WEBHOOK_KEYS
from troth.planning.certificates.anchors import bundle_text
from troth.planning.identity.facts import View
from troth.planning.identity.messages.entries import messages_of
from troth.planning.identity.messages.schema_room import ROOM, Placed, place
from troth.planning.identity.secret.webhook_trust import key_set, webhooks_of
from troth.planning.network.issuers import issuers_known
from troth.planning.network.live_peers import Side, read
from troth.planning.owned_objects import metadata_of, secret_ref
from troth.resources.identity.spec import Enforcement
from troth.resources.identity.status import EdgeState
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.edges.evaluation import Edge
from troth.trust.edges.spiffe_ids import spiffe_ids_of
from troth.world.facts.objects import Manifest

MOST = 900_000
"""Maximum size of the public part of an identity's Secret in bytes. A Secret holds 1 MiB.

The rest is for the certificate, its key and the keystores.
"""
ALWAYS_FIT = 500
"""Number of parts of the document that always fit, so that its size is not computed."""
PART = 1_600
"""Maximum bytes of a part: an edge, a scope on a port, a grant without its schemas, producers and
tenants, which counts twice, a producer, or a tenant.
"""


def secret_manifest(view: View, own_id: str) -> Manifest:
    """Return the manifest of the Secret without its private part."""
    current = parsed(view.secret.public.get(IDENTITY_JSON, "") if view.secret else "")
    peers = _peers(view, current)
    keys = {WEBHOOK_KEYS: key_set(peers.webhooks)} if peers.webhooks else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(secret_ref(view.identity.ref), view.identity),
        "stringData": {
            ROOTS: bundle_text(view.anchors),
            IDENTITY_JSON: identity_document(view.identity, own_id, peers),
            **keys,
        },
    }


def overflows(view: View) -> bool:
    """Return whether the Secret has no room for the public part that is declared."""
    if _parts(view) <= ALWAYS_FIT:
        return False
    own_id = view.secret.leaf.spiffe_id if view.secret and view.secret.leaf else ""
    declared = secret_manifest(view, own_id)["stringData"]
    return sum(len(text.encode()) for text in declared.values()) > MOST


def _parts(view: View) -> int:
    """Return the maximum number of parts of the document; schemas count by their size."""
    spec = view.identity.spec
    granted = sum(len(each.scopes) * len(each.ports) for each in spec.accepts)
    requested = sum(len(each.scopes) for each in spec.calls)
    return len(view.edges) + granted + requested + _message_parts(view)


def _message_parts(view: View) -> int:
    """Return the maximum number of parts of `messages`: each group read lists all producers."""
    if not view.topics:
        return 0
    consumed: Counter[Ref] = Counter()
    published: Counter[Ref] = Counter()
    for each in view.topics:
        if each.entry.action is Action.PUBLISH:
            published[each.policy] += 1
        elif each.entry.identity == view.identity.ref:
            consumed[each.policy] += 1
    producers = sum(groups * published[policy] for policy, groups in consumed.items())
    tenants = sum(_tenants(policy, view.messaging) for policy in consumed)
    # a consumer that a reviewer knows has its name, its group, a retry topic and its stream
    return 4 * len(view.topics) + producers + tenants + ROOM // PART


def _tenants(policy: Ref, messaging: Messaging) -> int:
    """Return how many tenants a policy names, for all of its consumers."""
    declared = messaging.policies.get(policy)
    return sum(len(each.tenants or ()) for each in declared.spec.consumers) if declared else 0


def without_growth(view: View) -> View:
    """Return a view whose document keeps only the live edges and grants that it already lists."""
    edges = [
        replace(edge, state=EdgeState.SUSPENDED) if edge.state is EdgeState.LIVE else edge
        for edge in view.edges
    ]
    topics = [
        replace(grant, state=GrantState.SUSPENDED) if grant.state is GrantState.LIVE else grant
        for grant in view.topics
    ]
    return replace(view, edges=tuple(edges), topics=tuple(topics))


def _peers(view: View, current: Mapping[str, Any]) -> Peers:
    """Return the peers, issuers, messages and webhooks for `identity.json`.

    While no single trust domain governs the workload, its issuers stay the current ones.
    """
    edges, ids = in_force(view, current)
    issuers, issuer_ids = (
        issuers_known(view.domain, view.registry, view.own_namespace)
        if view.domain is not None
        else (string_map(current, "issuers"), string_map(current, "issuerIDs"))
    )
    messages = placed_messages(view, current).entries
    inbound = [(edge, edge not in view.edges) for edge in edges if edge.callee == view.identity.ref]
    webhooks = webhooks_of(inbound, ids, view, current)
    return Peers(edges, ids, view.registry.identities, issuers, issuer_ids, messages, webhooks)


def placed_messages(view: View, current: Mapping[str, Any]) -> Placed:
    """Return the entries of `messages`, and the schemas that need a ConfigMap beside the Secret.

    `current` is the document as written.
    """
    if not view.topics:
        return Placed(())
    written = view.schema_files.fact
    files = written.data if written is not None else {}
    return place(messages_of(view, current, files))


def in_force(view: View, current: Mapping[str, Any]) -> tuple[tuple[Edge, ...], dict[Ref, str]]:
    """Return the edges for the peer list, and the SPIFFE IDs of their peers.

    These are the live edges, and the suspended edges that the list already has. Peers that share a
    ServiceAccount have the same SPIFFE ID, so the NetworkPolicy shows which of them was live.
    """
    suspended = any(edge.state is EdgeState.SUSPENDED for edge in view.edges)
    memory = read(view.policy.live_peers).peers if view.policy is not None and suspended else {}
    edges: list[Edge] = []
    ids: dict[Ref, str] = {}
    for edge in view.edges:
        inbound = edge.callee == view.identity.ref
        peer = edge.caller if inbound else edge.callee
        names = spiffe_ids_of(peer, view.registry)
        if edge.state is EdgeState.SUSPENDED:
            names &= listed(current, edge.port, inbound=inbound)
            rules = memory.get(Side.FROM if inbound else Side.TO, {}).get(peer, {}).values()
            if not any(edge.port in ports for ports in rules) and _is_ambiguous(peer, view):
                continue
        if names and edge.state in (EdgeState.LIVE, EdgeState.SUSPENDED):
            live = edge.state is EdgeState.LIVE
            edges.append(edge if live else replace(edge, state=EdgeState.LIVE))
            ids[peer] = min(names)
    return tuple(edges), ids


def _is_ambiguous(peer: Ref, view: View) -> bool:
    """Return whether a peer's SPIFFE ID in the peer list may belong to another identity.

    In Observe mode there is no NetworkPolicy to distinguish them, so the list alone decides.
    """
    identities = view.registry.claimants
    if view.identity.spec.enforcement is Enforcement.OBSERVE or peer not in identities:
        return False
    return view.registry.shares_account(identities[peer])
