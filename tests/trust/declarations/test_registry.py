"""The registry's indexes and caches equal those of a newly built registry."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests import builders
from tests.builders import Manifest, parsed_domain, parsed_identity
from tests.strategies import (
    DOMAINS,
    NAMES,
    NAMESPACES,
    domains,
    endpoints,
    identities,
    namespaces,
    places,
    wishes,
)
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.registry import Registry

namespace_names = st.sampled_from(NAMESPACES)
domain_names = st.sampled_from(DOMAINS)


@st.composite
def any_identity(draw: st.DrawFn) -> Manifest:
    return draw(identities(draw(places), draw(st.lists(wishes, max_size=3))))


any_endpoint = (
    st.lists(wishes, min_size=1, max_size=2).map(endpoints).filter(bool).map(lambda e: e[0])
)
endpoint_refs = st.sampled_from([Ref(namespace, "hook-0") for namespace in NAMESPACES])


def _endpoint(ref: Ref) -> tuple[str, Ref]:
    return ("endpoint", ref)


class Registering(RuleBasedStateMachine):
    """Declares and forgets in any order, asking in between so that every cache is warm."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.declared: dict[Any, Manifest] = {}
        self.refused: dict[Any, str] = {}

    @rule(manifest=any_identity())
    def declare_identity(self, manifest: Manifest) -> None:
        self.registry.put_identity(parsed_identity(manifest))
        self._now(Ref.of(manifest), manifest)

    @rule(place=places)
    def forget_identity(self, place: tuple[str, str]) -> None:
        self.registry.drop_identity(Ref(*place))
        self._now(Ref(*place), None)

    @rule(place=places)
    def refuse_identity(self, place: tuple[str, str]) -> None:
        self.registry.refuse_identity(Ref(*place), "unreadable")
        self._now(Ref(*place), None)
        self.refused[Ref(*place)] = "unreadable"

    @rule(manifest=any_endpoint)
    def declare_endpoint(self, manifest: Manifest) -> None:
        self.registry.put_webhook(WebhookEndpoint.parse(manifest))
        self._now(_endpoint(Ref.of(manifest)), manifest)

    @rule(ref=endpoint_refs)
    def forget_endpoint(self, ref: Ref) -> None:
        self.registry.drop_webhook(ref)
        self._now(_endpoint(ref), None)

    @rule(ref=endpoint_refs)
    def refuse_endpoint(self, ref: Ref) -> None:
        self.registry.refuse_webhook(ref, "unreadable")
        self._now(_endpoint(ref), None)
        self.refused[_endpoint(ref)] = "unreadable"

    @rule(manifest=domain_names.flatmap(domains))
    def declare_domain(self, manifest: Manifest) -> None:
        self.registry.put_domain(parsed_domain(manifest))
        self._now("domain " + manifest["metadata"]["name"], manifest)

    @rule(name=domain_names)
    def forget_domain(self, name: str) -> None:
        self.registry.drop_domain(name)
        self._now(f"domain {name}", None)

    @rule(name=domain_names)
    def refuse_domain(self, name: str) -> None:
        self.registry.refuse_domain(name, "unreadable")
        self._now(f"domain {name}", None)
        self.refused[f"domain {name}"] = "unreadable"

    @rule(manifest=namespace_names.flatmap(namespaces))
    def put_namespace(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        self.registry.put_namespace(metadata["name"], metadata["labels"])
        self._now("namespace " + metadata["name"], manifest)

    @rule(name=namespace_names)
    def drop_namespace(self, name: str) -> None:
        self.registry.drop_namespace(name)
        self._now(f"namespace {name}", None)

    def _now(self, key: Any, manifest: Manifest | None) -> None:
        self.declared.pop(key, None)
        self.refused.pop(key, None)
        if manifest is not None:
            self.declared[key] = manifest

    @invariant()
    def is_as_if_built_anew(self) -> None:
        fresh = builders.registry(*self.declared.values())
        for key, sentence in self.refused.items():
            if isinstance(key, Ref):
                fresh.refuse_identity(key, sentence)
            elif isinstance(key, tuple):
                fresh.refuse_webhook(key[1], sentence)
            else:
                fresh.refuse_domain(key.removeprefix("domain "), sentence)
        assert answers(self.registry) == answers(fresh)


def answers(registry: Registry) -> dict[str, Any]:
    """Everything that one may ask a registry."""
    everywhere = [Ref(namespace, name) for namespace in NAMESPACES for name in NAMES]
    there = [ref for ref in everywhere if ref in registry.identities]
    return {
        "invalid": (registry.invalid_identities, registry.invalid_domains),
        "in": {name: registry.identities_in(name) for name in NAMESPACES},
        "declared": {ref: registry.declared(ref) for ref in everywhere},
        "naming": {ref: registry.naming(ref) for ref in everywhere},
        "neighbours": {ref: registry.neighbours(ref) for ref in everywhere},
        "api": registry.calling_api(),
        "colliding": {ref: registry.colliding(registry.identities[ref]) for ref in there},
        "shared": {ref: registry.shared_identity(ref) for ref in there},
        "governance": {name: registry.governance(name) for name in NAMESPACES},
        "webhooks": (
            registry.webhooks.invalid,
            {ref: registry.webhooks.through(ref) for ref in everywhere},
            {ref: registry.webhooks.to(ref) for ref in everywhere},
            {name: registry.webhooks.gateways_for(name) for name in NAMESPACES},
            {name: registry.webhooks.unread_in(name) for name in NAMESPACES},
        ),
        "governed": {name: registry.governed_by(name) for name in DOMAINS},
        "contested": {name: registry.contested(name) for name in DOMAINS},
        "restarting": {name: registry.restarting_in(name) for name in NAMESPACES},
    }


TestRegistering = Registering.TestCase
TestRegistering.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_collisions_equal_brute_force() -> None:
    """Stated by the oracle of the reachability test over every generated cluster; here one case."""
    both = builders.registry(
        builders.identity("a", pods={"matchLabels": {"app": "a", "tier": "front"}}),
        builders.identity("b", pods={"matchLabels": {"tier": "front"}}),
        builders.identity("c", pods={"matchLabels": {"app": "c"}}),
    )
    shared = {ref.name: both.shared_identity(ref) for ref in both.identities}
    assert {name: it.other and it.other.name for name, it in shared.items() if it} == {
        "a": "b",
        "b": "a",
        "c": "b",
    }
