"""Declared WebhookEndpoints, and the call that each requires of its gateway."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.gateway_loads import GatewayLoads
from troth.trust.multimap import Multimap


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """Call that an inbound endpoint requires: from its gateway to its target, on one port."""

    endpoint: Ref
    gateway: Ref
    target: Ref
    port: str
    path: str
    workflow: str


def route_of(endpoint: WebhookEndpoint) -> Route | None:
    """Return the route of an endpoint, None for an outbound one."""
    inbound, gateway, target = endpoint.spec.inbound, endpoint.gateway, endpoint.target
    if inbound is None or gateway is None or target is None:
        return None
    to = inbound.target
    return Route(endpoint.ref, gateway, target, to.port, to.path, to.workflow)


_BY_ENDPOINT = attrgetter("endpoint")  # each endpoint has one route


class Webhooks:
    """Index of the declared endpoints."""

    def __init__(self) -> None:
        self.endpoints: dict[Ref, WebhookEndpoint] = {}
        self.terminating: dict[Ref, WebhookEndpoint] = {}
        """Endpoints that are being deleted. They no longer have routes."""
        self.invalid: dict[Ref, str] = {}
        self._unread = Multimap[str, Ref]()
        self._first_unread: dict[str, Ref] = {}
        self._routes: dict[Ref, Route] = {}
        self._through = Multimap[Ref, Route]()
        self._to = Multimap[Ref, Route]()
        self._of = Multimap[str, Route]()
        self._on = Multimap[tuple[Ref, Ref, str], Route]()
        self.loads = GatewayLoads()

    def put(self, endpoint: WebhookEndpoint) -> None:
        """Add or replace an endpoint. One that is being deleted no longer has a route."""
        self.drop(endpoint.ref)
        if is_terminating(endpoint):
            self.terminating[endpoint.ref] = endpoint
            return
        self.endpoints[endpoint.ref] = endpoint
        route = route_of(endpoint)
        if route is not None:
            self._routes[endpoint.ref] = route
            for index, key in self._indexes(route):
                index.add(key, route)
            self.loads.touch(route.gateway, route.target)

    def refuse(self, ref: Ref, sentence: str) -> None:
        """Add an endpoint that exists but is invalid."""
        self.drop(ref)
        self.invalid[ref] = sentence
        self._unread.add(ref.namespace, ref)
        self._first_unread.pop(ref.namespace, None)

    def drop(self, ref: Ref) -> None:
        """Remove an endpoint."""
        if self.invalid.pop(ref, None) is not None:
            self._unread.discard(ref.namespace, ref)
            self._first_unread.pop(ref.namespace, None)
        self.endpoints.pop(ref, None)
        self.terminating.pop(ref, None)
        route = self._routes.pop(ref, None)
        if route is not None:
            for index, key in self._indexes(route):
                index.discard(key, route)
            self.loads.touch(route.gateway, route.target)

    def refresh(self, endpoint: WebhookEndpoint) -> None:
        """Replace an endpoint of which only status or metadata changed."""
        there = self.endpoints if endpoint.ref in self.endpoints else self.terminating
        there[endpoint.ref] = endpoint

    def _indexes(self, route: Route) -> tuple[tuple[Multimap[Any, Route], object], ...]:
        """Return each index that has a route, with its key there."""
        gateway, target = route.gateway, route.target
        return (
            (self._through, gateway),
            (self._to, target),
            (self._of, route.endpoint.namespace),
            (self._on, (gateway, target, route.port)),
        )

    def route(self, ref: Ref) -> Route | None:
        """Return the route of an endpoint, None if it is not inbound or does not exist."""
        return self._routes.get(ref)

    def through(self, gateway: Ref) -> tuple[Route, ...]:
        """Return the routes through a gateway, sorted. It need not exist or serve them."""
        return tuple(sorted(self._through.of(gateway), key=_BY_ENDPOINT))

    def to(self, target: Ref) -> tuple[Route, ...]:
        """Return the routes to a target, sorted. It need not exist."""
        return tuple(sorted(self._to.of(target), key=_BY_ENDPOINT))

    def on(self, gateway: Ref, target: Ref, port: str) -> AbstractSet[Route]:
        """Return the routes from a gateway to one port of a target."""
        return self._on.of((gateway, target, port))

    def ports(self, gateway: Ref, target: Ref) -> frozenset[str]:
        """Return the ports of a target to which routes from a gateway lead."""
        return frozenset(each.port for each in self._to.of(target) if each.gateway == gateway)

    def note_identity(self, ref: Ref) -> None:
        """Take in that an identity has changed, which may be a target or a gateway."""
        self.loads.forget(ref)
        for route in self._to.of(ref):
            self.loads.touch(route.gateway, ref)

    def note_namespace(self, name: str) -> None:
        """Take in that the labels of a namespace have changed."""
        for gateway in self.gateways_for(name):
            self.loads.touch(gateway)

    def unread_in(self, namespace: str) -> tuple[Ref, ...]:
        """Return the invalid endpoints of a namespace, sorted."""
        return tuple(sorted(self._unread.of(namespace)))

    def first_unread_in(self, namespace: str) -> Ref | None:
        """Return the first invalid endpoint of a namespace, None if there is none."""
        unread = self._unread.of(namespace)
        if unread and namespace not in self._first_unread:  # each edge of a gateway asks
            self._first_unread[namespace] = min(unread)
        return self._first_unread.get(namespace)

    def beside(self, ref: Ref) -> frozenset[Ref]:
        """Return the gateways of a target and the targets of a gateway."""
        gateways = {route.gateway for route in self._to.of(ref)}
        return frozenset(gateways.union(route.target for route in self._through.of(ref)))

    def gateways_for(self, namespace: str) -> frozenset[Ref]:
        """Return the gateways that endpoints of a namespace name."""
        return frozenset(route.gateway for route in self._of.of(namespace))
