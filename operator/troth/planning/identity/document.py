"""`identity.json`: what a service needs to verify its peers, beside its certificate.

Written into the identity's Secret; read by services, by `troth.edge` and by the sandbox's
workload. A service accepts a caller whose certificate verifies against `ca.crt`, whose SPIFFE ID
is listed for the port, and grants it the scopes listed there and no others. Where tokens are used
it says whose tokens to believe, for which audience, and what tokens to get for a call.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from troth.planning.trust_domain.issuers import audience_of
from troth.resources.identity.peers import Accepts
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import read_json
from troth.trust.edges import Edge
from troth.trust.scopes import scopes_between

VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Peers:
    """What an identity's document tells of, beside what the identity declares itself.

    `spiffe_ids` has the SPIFFE ID of every peer of a live edge that has one to prove; a gatewayOnly
    callee has none, and a file about whom to verify says nothing of it. `identities` are the
    declared identities, of which those of callees are read. `issuers` and `issuer_ids` are the URLs
    and the SPIFFE IDs of the issuers to believe, by trust domain. `messages` says what messages the
    identity may publish and consume.
    """

    edges: tuple[Edge, ...]
    spiffe_ids: Mapping[Ref, str]
    identities: Mapping[Ref, ServiceIdentity]
    issuers: Mapping[str, str]
    issuer_ids: Mapping[str, str]
    messages: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    webhooks: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def identity_document(identity: ServiceIdentity, spiffe_id: str, peers: Peers) -> str:
    """Return the text of `identity.json`: live edges only, sorted, ending in a newline."""
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
    """Return what a caller may do on a port, and what it may say there of its own callers."""
    here = [entry for entry in entries if port in entry.ports]
    scopes = {scope for entry in here for scope in entry.scopes}
    forwards = {said.value for entry in here for said in entry.forwards}
    granted: dict[str, Any] = {"name": port, "scopes": sorted(scopes)}
    return granted | ({"forwards": sorted(forwards)} if forwards else {})


def _token_for(
    identity: ServiceIdentity, callee: ServiceIdentity, callee_id: str, ports: Collection[str]
) -> dict[str, Any]:
    """Return which token a call needs, where it needs one."""
    if callee.spec.authentication.token is None:
        return {}
    scopes = list(scopes_between(identity, callee, ports).held)
    return {"token": {"audience": audience_of(callee, callee_id), "scopes": scopes}}


def _token_required(identity: ServiceIdentity, spiffe_id: str) -> dict[str, Any]:
    """Return which token callers must bring, where they must."""
    token = identity.spec.authentication.token
    if token is None:
        return {}
    audience = audience_of(identity, spiffe_id)
    proof = token.proof_of_possession.value
    return {"token": {"audience": audience, "proofOfPossession": proof}}


def current_document(text: str) -> Mapping[str, Any]:
    """Return what an `identity.json` says, or nothing where it is not one, or nests too deeply."""
    try:
        document = read_json(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def current_names(document: Mapping[str, Any], member: str) -> Mapping[str, str]:
    """Return a member of a document that maps names to names, or nothing where it does not."""
    found = document.get(member)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        return {}
    return found


def listed(document: Mapping[str, Any], port: str, *, inbound: bool) -> frozenset[str]:
    """Return the SPIFFE IDs that a document lists for a port, as callers or as callees."""
    found: set[str] = set()
    for entry in _entries(document.get("accepts" if inbound else "calls")):
        ports = entry.get("ports")
        if isinstance(ports, list) and isinstance(entry.get("spiffeID"), str):
            names = [each.get("name") if isinstance(each, dict) else each for each in ports]
            if port in names:
                found.add(entry["spiffeID"])
    return frozenset(found)


def _entries(part: object) -> list[dict[str, Any]]:
    return [each for each in part if isinstance(each, dict)] if isinstance(part, list) else []
