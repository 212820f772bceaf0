"""`identity.json`: the data with which a service verifies its peers.

Troth writes it into the identity's Secret, beside the certificate. Services, `troth.edge` and the
sandbox's workload read it. A service accepts a caller whose certificate verifies against `ca.crt`
and whose SPIFFE ID is listed for the port. It grants the caller only the scopes listed there. If
tokens are used, the document names the trusted issuers, the required audience, and the tokens to
get for each call.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from troth.resources.identity.peers import Accepts
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.edges.evaluation import Edge
from troth.trust.edges.scopes import audience_of, scopes_between

VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Peers:
    """Inputs of an identity's document besides the identity's own declaration.

    `spiffe_ids` has the SPIFFE ID of every peer of a live edge that has a certificate. A
    gatewayOnly callee has none, so the document does not list it. `identities` are all declared
    identities; only those of callees are read. `issuers` and `issuer_ids` are the URLs and SPIFFE
    IDs of the trusted issuers, by trust domain. `messages` are the messages that the identity may
    publish and consume. `webhooks` are the gateways that deliver webhooks to it.
    """

    edges: tuple[Edge, ...]
    spiffe_ids: Mapping[Ref, str]
    identities: Mapping[Ref, ServiceIdentity]
    issuers: Mapping[str, str]
    issuer_ids: Mapping[str, str]
    messages: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    webhooks: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def identity_document(identity: ServiceIdentity, spiffe_id: str, peers: Peers) -> str:
    """Return the text of `identity.json`: only live edges, sorted, with a final newline."""
    me = identity.ref
    live = [edge for edge in peers.edges if edge.state is EdgeState.LIVE]
    accepts: dict[Ref, list[str]] = {}
    calls: dict[Ref, list[str]] = {}
    for edge in live:
        if edge.callee == me:
            accepts.setdefault(edge.caller, []).append(edge.port)
        if edge.caller == me:
            calls.setdefault(edge.callee, []).append(edge.port)
    entries = _entries_by_caller(identity)
    document: dict[str, Any] = {
        "version": VERSION,
        "spiffeID": spiffe_id,
        "issuers": peers.issuers,
        "issuerIDs": peers.issuer_ids,
        "accepts": [
            {
                "spiffeID": peers.spiffe_ids[caller],
                "ports": [_accepted(entries[caller], port) for port in sorted(ports)],
            }
            for caller, ports in sorted(accepts.items())
        ],
        "calls": [
            {"name": str(callee), "spiffeID": peers.spiffe_ids[callee], "ports": sorted(ports)}
            | _token_for(identity, peers.identities[callee], peers.spiffe_ids[callee], ports)
            for callee, ports in sorted(calls.items())
            if callee in peers.spiffe_ids
        ],
        "requires": {"context": sorted(item.value for item in identity.spec.requires.context)}
        | _token_required(identity, spiffe_id),
    }
    starts = identity.spec.starts_transactions
    if starts is not None:
        document["startsTransactions"] = {
            "scopes": sorted(starts.scopes),
            "context": sorted(starts.context),
        }
    if peers.messages:
        document["messages"] = peers.messages
    if peers.webhooks:
        document["webhooks"] = peers.webhooks
    return to_json(document, indent=2).decode() + "\n"


def _entries_by_caller(identity: ServiceIdentity) -> Mapping[Ref, list[Accepts]]:
    entries: dict[Ref, list[Accepts]] = {}
    for entry in identity.spec.accepts:
        if entry.from_:
            entries.setdefault(entry.from_.seen_from(identity.ref.namespace), []).append(entry)
    return entries


def _accepted(entries: Iterable[Accepts], port: str) -> dict[str, Any]:
    """Return a caller's scopes on a port, and the context it may forward about its own callers."""
    here = [entry for entry in entries if port in entry.ports]
    scopes = {scope for entry in here for scope in entry.scopes}
    forwards = {said.value for entry in here for said in entry.forwards}
    granted: dict[str, Any] = {"name": port, "scopes": sorted(scopes)}
    return granted | ({"forwards": sorted(forwards)} if forwards else {})


def _token_for(
    identity: ServiceIdentity, callee: ServiceIdentity, callee_id: str, ports: Collection[str]
) -> dict[str, Any]:
    """Return the token that a call needs, an empty entry if it needs none."""
    if callee.spec.authentication.token is None:
        return {}
    scopes = list(scopes_between(identity, callee, ports).held)
    return {"token": {"audience": audience_of(callee, callee_id), "scopes": scopes}}


def _token_required(identity: ServiceIdentity, spiffe_id: str) -> dict[str, Any]:
    """Return the token that callers must present, an empty entry if they need none."""
    token = identity.spec.authentication.token
    if token is None:
        return {}
    audience = audience_of(identity, spiffe_id)
    proof = token.proof_of_possession.value
    return {"token": {"audience": audience, "proofOfPossession": proof}}
