"""Hypothesis strategies for sets of resources, from small universes.

Edges are drawn first, with the sides that declare them, and then collected into identities. Sides
drawn independently would hardly ever name each other.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from tests import builders, webhook_builders
from tests.builders import NOW, Manifest

DOMAINS = ("red", "blue", "green")
NAMESPACES = ("north", "south", "east")
NAMES = ("a", "b", "c", "d")
PORTS = {
    "web": ("web", 8080, "TCP"),
    "alt": ("alt", 8080, "UDP"),
    "grpc": ("grpc", 9090, "TCP"),
}
APPS = ("a", "b", "c", "d", "other")
TIERS = ("front", "back")
CIDRS = (
    "10.0.1.0/24",
    "10.0.0.0/16",
    "203.0.113.0/24",
    "10.0.1.7/32",
    "0.0.0.0/0",
    "2001:db8::/64",
)

# The common value is first, so that failures shrink towards it.
often = st.sampled_from((*[True] * 11, False))
sometimes = st.sampled_from((*[False] * 7, True))
half = st.booleans()
scopes = st.lists(st.sampled_from(("read", "write", "admin")), max_size=3, unique=True)
port_names = st.lists(st.sampled_from(tuple(PORTS)), min_size=1, max_size=2, unique=True)


def more(times: int) -> settings:
    """Return settings with `times` as many examples as the profile, for important tests."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=times * profile.max_examples)


def campaign(examples: settings) -> settings:
    """Return settings of a campaign: its examples, each of 30 steps.

    By default a failure is not shrunk, because that takes longer than all other tests.
    """
    thorough = settings.get_current_profile_name() == "thorough"
    phases = [each for each in examples.phases if thorough or each is not Phase.shrink]
    return settings(examples, stateful_step_count=30, phases=phases)


def fewer(times: int) -> settings:
    """Return settings with a fraction of the profile's examples, for slow tests."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=max(profile.max_examples // times, 1))


def subset(items: Iterable[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw any of the items, each at most once."""
    listed = list(items)
    return st.sets(st.sampled_from(range(len(listed)))).map(
        lambda chosen: [listed[number] for number in sorted(chosen)]
    )


def some(items: Iterable[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw at least one of the items, each at most once."""
    return subset(items).filter(bool)


@st.composite
def selectors(draw: st.DrawFn) -> Manifest:
    """Draw a selector over the labels app and tier, with every operator."""
    chosen: Manifest = {}
    requirements = draw(
        st.lists(
            st.one_of(
                st.builds(
                    lambda key, operator: {"key": key, "operator": operator},
                    st.sampled_from(["app", "tier"]),
                    st.sampled_from(["Exists", "DoesNotExist"]),
                ),
                st.builds(
                    lambda operator, values: {"key": "app", "operator": operator, "values": values},
                    st.sampled_from(["In", "NotIn"]),
                    some(APPS),
                ),
                st.builds(
                    lambda operator, values: {
                        "key": "tier",
                        "operator": operator,
                        "values": values,
                    },
                    st.sampled_from(["In", "NotIn"]),
                    some(TIERS),
                ),
            ),
            max_size=2,
        )
    )
    if requirements:
        chosen["matchExpressions"] = requirements
    labels = draw(
        st.fixed_dictionaries(
            {}, optional={"app": st.sampled_from(APPS), "tier": st.sampled_from(TIERS)}
        )
    )
    if labels or not requirements:
        chosen["matchLabels"] = labels or {"app": draw(st.sampled_from(APPS))}
    return chosen


@st.composite
def namespaces(draw: st.DrawFn, name: str) -> Manifest:
    labels = {"domain": draw(st.sampled_from((*["red"] * 4, "blue", "blue", "green", "none")))}
    if draw(sometimes):
        labels["extra"] = draw(st.sampled_from(DOMAINS))
    return builders.namespace(name, **labels)


@st.composite
def domains(draw: st.DrawFn, name: str) -> Manifest:
    """Draw a domain that selects the namespaces of its name, and sometimes a rival's too."""
    others = [other for other in DOMAINS if other != name]
    spec: dict[str, Any] = {"environment": draw(st.sampled_from(("prod", "prod", "stage")))}
    other = "stage" if spec["environment"] == "prod" else "prod"
    if draw(half):
        spec["allowEnvironments"] = [other]
    if draw(sometimes):
        wider = {"key": "domain", "operator": "In", "values": [name, draw(st.sampled_from(others))]}
        spec["namespaceSelector"] = {"matchExpressions": [wider]}
    elif draw(sometimes):
        spec["namespaceSelector"] = {"matchLabels": {"extra": name}}
    if draw(often):
        spec["tokens"] = {}
    if draw(half):
        spec["consent"] = draw(st.sampled_from(("Callee", "Mutual")))
    spec["federatesWith"] = [
        {"name": each} for each in (draw(subset(others)) if draw(half) else others)
    ]
    if draw(sometimes):  # a second domain of a SPIFFE trust domain
        spec["domain"] = f"{draw(st.sampled_from(others))}.example"
    network: Manifest = {}
    if draw(half):
        network["dns"] = {
            "namespace": draw(st.sampled_from(NAMESPACES)),
            "podSelector": {"matchLabels": {"app": "other"}},
            "port": draw(st.sampled_from((53, 9090))),
        }
    if draw(half):
        network["metrics"] = {
            "namespace": draw(st.sampled_from(NAMESPACES)),
            "podSelector": {"matchLabels": {"app": draw(st.sampled_from(("other", "a")))}},
        }
    if draw(half):
        network["probes"] = {"cidrs": draw(some(CIDRS))}
    return builders.domain(name, network=network, **spec)


@dataclass(frozen=True)
class DeclaredEdge:
    """One edge, and the sides that declare it."""

    caller: tuple[str, str]
    callee: tuple[str, str]
    ports: tuple[str, ...]
    called: bool
    accepted: bool
    by_endpoint: bool = False
    """Whether WebhookEndpoints request the call, one for each port, instead of the caller."""


places = st.tuples(st.sampled_from((*["north"] * 2, *NAMESPACES)), st.sampled_from(NAMES))
wishes = st.builds(
    DeclaredEdge,
    places,
    places,
    port_names.map(tuple),
    called=often,
    accepted=often,
    by_endpoint=st.sampled_from((False, False, True)),
)


def endpoints(declared: Iterable[DeclaredEdge]) -> list[Manifest]:
    """Return the WebhookEndpoints of the wishes that need some."""
    asked = {
        (wish.caller, wish.callee, port): None
        for wish in declared
        if wish.called and wish.by_endpoint
        for port in wish.ports
    }
    return [
        webhook_builders.endpoint(
            f"hook-{number}",
            callee[0],
            gateway={"namespace": gateway[0], "name": gateway[1]},
            target={
                "identity": {"name": callee[1]},
                "port": port,
                "path": "/hook",
                "workflow": "work",
            },
        )
        for number, (gateway, callee, port) in enumerate(asked)
    ]


served = st.sampled_from(
    (
        {"matchExpressions": [{"key": "domain", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "domain", "operator": "Exists"}]},
        *({"matchLabels": {"domain": name}} for name in DOMAINS),
    )
)


@st.composite
def unverified_peers(draw: st.DrawFn) -> Manifest:
    ports = draw(port_names)
    if draw(half):
        return builders.unverified(*ports, cidrs=draw(some(CIDRS)))
    peer: Manifest = {}
    if draw(half):
        peer["namespaceSelector"] = {"matchLabels": {"domain": draw(st.sampled_from(DOMAINS))}}
    if draw(half) or not peer:
        peer["podSelector"] = draw(selectors())
    return builders.unverified(*ports, **peer)


@st.composite
def identities(draw: st.DrawFn, place: tuple[str, str], declared: list[DeclaredEdge]) -> Manifest:
    """Draw an identity with its share of the wishes."""
    here, name = place
    accepts = [
        builders.accept(wish.caller[1], *wish.ports, namespace=_as_written(here, wish.caller[0]))
        | {"scopes": draw(scopes)}
        for wish in declared
        if wish.accepted and wish.callee == place
    ]
    calls = [
        builders.call(wish.callee[1], *wish.ports, namespace=_as_written(here, wish.callee[0]))
        | {"scopes": draw(scopes)}
        for wish in declared
        if wish.called and not wish.by_endpoint and wish.caller == place
    ]
    asked = any(wish.by_endpoint and wish.caller == place for wish in declared)
    spec: dict[str, Any] = {}
    if draw(sometimes):
        calls = []
        callers = [wish.caller for wish in declared if wish.accepted and wish.callee == place]
        gateway = callers[0] if callers else draw(places)
        until = draw(st.sampled_from((1, 90, 0, -1, 91)))
        trust = builders.gateway_only(
            gateway[1], NOW + timedelta(days=until), _as_written(here, gateway[0])
        )
        spec["authentication"] = trust
        accepts = [{**each, "from": trust["gatewayOnly"]["gateway"]} for each in accepts]
    else:
        accepts += draw(st.lists(unverified_peers(), max_size=1))
        if draw(half):
            audience = draw(st.sampled_from(({}, {}, {"audience": "https://one.example"})))
            spec["authentication"] = {"token": audience}
        if draw(sometimes):
            spec["startsTransactions"] = {"scopes": draw(scopes)}
        if draw(often if asked else sometimes):
            spec["servesWebhooks"] = {"allowedNamespaces": draw(served)}
    calls += draw(
        st.lists(
            st.builds(
                lambda cidrs, ports: builders.external(*cidrs, ports=ports),
                some(CIDRS),
                st.sampled_from(([443], [8080, 9090])),
            ),
            max_size=1,
        )
    )
    if draw(sometimes):
        calls.append({"kubernetesAPI": True})
    if draw(half):
        spec["exceptions"] = {"probes": draw(subset(PORTS)), "metrics": draw(subset(PORTS))}
    if draw(sometimes):
        spec["enforcement"] = "Observe"
    named = {port for entry in accepts for port in entry["ports"]}
    named |= {port for ports in spec.get("exceptions", {}).values() for port in ports}
    offered = named | set(draw(subset(PORTS)))
    return builders.identity(
        name,
        here,
        ports=[PORTS[port] for port in sorted(offered)],
        accepts=accepts,
        calls=calls,
        pods=draw(selectors()) if draw(sometimes) else None,
        account=draw(st.sampled_from(NAMES)) if draw(sometimes) else "",
        **spec,
    )


def _as_written(here: str, there: str) -> str | None:
    """Return a reference, without the namespace if it is the same."""
    return None if here == there else there


@st.composite
def clusters(draw: st.DrawFn) -> list[Manifest]:
    """Draw all declarations of one cluster."""
    declared = draw(st.lists(wishes, min_size=1, max_size=8))
    named: dict[tuple[str, str], None] = defaultdict()
    for wish in declared:
        named |= {wish.caller: None, wish.callee: None}
    there = [place for place in named if draw(often)]
    manifests = [draw(domains(name)) for name in DOMAINS if draw(often)]
    manifests += [draw(namespaces(name)) for name in NAMESPACES if draw(often)]
    manifests += [draw(identities(place, declared)) for place in there]
    manifests += endpoints(wish for wish in declared if draw(often))
    if draw(half):
        manifests.append(builders.endpoint_slice("10.0.1.7", "172.16.0.1", port=9090))
    return manifests
