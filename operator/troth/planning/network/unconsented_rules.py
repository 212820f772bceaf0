"""Rules that need no consent, because one side declares them alone.

These are for probes and metrics, unverified peers, the resolver, destinations outside the cluster,
and the API server.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from troth.planning.network.external_peers import collectors, pods_in, unverified_peers
from troth.planning.network.policy_inputs import PolicyInputs
from troth.planning.network.rules import Rule, listed, numbers
from troth.resources.identity.spec import Protocol
from troth.trust.edges.candidate import find_port
from troth.world.facts.objects import Manifest


def exceptions(situation: PolicyInputs) -> Iterable[Rule]:
    """Yield the rules for probes and metrics."""
    exceptions = situation.identity.spec.exceptions
    for network in (claim.network for claim in situation.claims):
        if network.probes and exceptions.probes:
            for cidr in network.probes.cidrs:
                peers = [{"ipBlock": {"cidr": cidr}}]
                yield {"from": peers, "ports": _named(situation, exceptions.probes)}
        if network.metrics and exceptions.metrics:
            ports, pods = _named(situation, exceptions.metrics), network.metrics.pod_selector
            for peer in collectors(situation.identity, network.metrics.namespace, pods):
                yield {"from": [peer], "ports": ports}


def _named(situation: PolicyInputs, names: Iterable[str]) -> list[Manifest]:
    ports = [find_port(situation.identity, name) for name in names]
    return numbers(port for port in ports if port is not None)


def unverified(situation: PolicyInputs) -> Iterable[Rule]:
    """Yield the rules for peers without an identity."""
    for accepted in situation.identity.spec.accepts:
        if accepted.unverified and accepted.unverified.is_open(situation.now):
            ports = _named(situation, accepted.ports)
            for peer in unverified_peers(situation.identity, accepted.unverified):
                yield {"from": [peer], "ports": ports}


def dns(situation: PolicyInputs) -> Iterable[Rule]:
    """Yield the rules for the cluster's resolver."""
    for resolver in (claim.network.dns for claim in situation.claims):
        yield {
            "to": [pods_in(resolver.namespace, resolver.pod_selector)],
            "ports": listed([(Protocol.UDP, resolver.port), (Protocol.TCP, resolver.port)]),
        }


def external(situation: PolicyInputs) -> Iterable[Rule]:
    """Yield the rules for destinations outside the cluster."""
    for call in situation.identity.spec.calls:
        if call.external:
            ports = listed((Protocol.TCP, number) for number in call.external.ports)
            for cidr in call.external.cidrs:
                yield {"to": [{"ipBlock": {"cidr": cidr}}], "ports": ports}


def api_server(situation: PolicyInputs) -> Iterable[Rule]:
    """Yield the rules for the API server."""
    if any(call.kubernetes_api for call in situation.identity.spec.calls):
        for endpoint in sorted(situation.api_endpoints):
            address = ip_address(endpoint.address)
            yield {
                "to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}],
                "ports": listed([(Protocol.TCP, endpoint.port)]),
            }
