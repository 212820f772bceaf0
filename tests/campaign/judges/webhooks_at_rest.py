"""Judge of a cluster at rest: its webhook objects must be exactly as declared."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.builders import Manifest
from tests.campaign.judges.at_rest import status_faults
from tests.campaign.judges.webhooks import (
    COMPILED,
    GENERATED,
    PEM,
    SIGNING,
    SIGNING_SUFFIX,
    SUFFIX,
    Hooks,
    document_of,
    key_ids,
    keys_of,
    kid_of,
    routes_in,
    usable,
)
from tests.oracle import Place as Identity
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.observation import objects as observe


@dataclass
class WebhooksAtRest:
    """The webhook objects of a cluster at rest."""

    objects: dict[Place, Manifest]
    hooks: Hooks
    told: dict[Place, Manifest]
    """Documents that Troth wrote last for the gateways."""

    def faults(self) -> Iterator[str]:
        for ref in self.hooks.endpoints:
            if self.hooks.inbound(ref) is not None:
                yield from self._of_endpoint(ref)
        yield from self._left_over()
        yield from self._gateways()

    def _identity_secret(self, place: Identity) -> Manifest:
        return self.objects.get(("Secret", Ref(place[0], f"{place[1]}-identity")), {})

    def _of_endpoint(self, ref: Ref) -> Iterator[str]:
        hooks, inbound = self.hooks, self.hooks.inbound(ref) or {}
        source = hooks.source(ref)
        held = self.objects.get(("Secret", source)) if source is not None else None
        data = observe.decoded(held) if held and hooks.reads(ref, held) else {}
        good = {key: text for key, text in data.items() if usable(inbound["scheme"], text)}
        has_keys = inbound["scheme"] == "SNS" or bool(good)
        if hooks.generates(ref) and not good:
            yield f"{ref} has no key"
        found = self.objects.get(hooks.place(ref))
        if hooks.served(ref) and has_keys and found is None:
            yield f"the gateway has nothing of {ref}"
        if hooks.served(ref) and found is not None:
            yield from self._as_declared(ref, found, good, lets_in=has_keys)
        if hooks.torn(ref) and found is not None:
            yield from self._as_it_was(ref, found, good)
        ready = (
            hooks.served(ref)
            and (inbound["scheme"] == "SNS" or (bool(data) and good == data))
            and hooks.accepts_now(ref)
            and bool(hooks.targets(ref))
        )
        status = hooks.endpoints[ref]["status"]
        yield from status_faults(f"WebhookEndpoint {ref}", status, ready=ready)
        if {each["id"] for each in status.get("keys", [])} != good.keys():
            yield f"{ref} says its keys are {status.get('keys')}, not {sorted(good)}"

    def _as_declared(
        self, ref: Ref, found: Manifest, good: dict[str, bytes], *, lets_in: bool
    ) -> Iterator[str]:
        """Yield the faults of a served endpoint's compiled Secret."""
        target = document_of(found)["target"]
        if not self.hooks.said(ref, found):
            yield f"the gateway is told of {ref}: {document_of(found)}"
        if keys_of(found) != good:
            yield f"the gateway tries for {ref} {sorted(keys_of(found))}, not {sorted(good)}"
        lets_in = lets_in and self.hooks.accepts_now(ref)
        expected = self.hooks.targets(ref) if lets_in else []
        kept = target is not None and lets_in and self.hooks.suspended(ref)
        right = target in expected if expected else target is None
        if not right and not kept:
            yield f"the gateway hands {ref} on to {target}, not {expected}"

    def _as_it_was(self, ref: Ref, found: Manifest, good: dict[str, bytes]) -> Iterator[str]:
        """Yield the faults of the compiled Secret of an endpoint in a namespace conflict."""
        if document_of(found) != self.told.get(self.hooks.place(ref)):
            yield f"the gateway goes on with what somebody else says of {ref}"
        if not keys_of(found).items() <= good.items():
            yield f"the gateway goes on to try for {ref} {sorted(keys_of(found))}"

    def _left_over(self) -> Iterator[str]:
        """Yield a fault for each object of an undeclared endpoint or gateway."""
        hooks = self.hooks
        wanted = {
            hooks.place(ref) for ref in hooks.endpoints if hooks.served(ref) or hooks.torn(ref)
        }
        for place, manifest in self.objects.items():
            kind = manifest.get("type")
            if kind == COMPILED and place not in wanted:
                yield f"{place} is left"
            owner = Ref(place[1].namespace, place[1].name.removesuffix(SUFFIX))
            if kind == GENERATED and owner not in self.hooks.endpoints:
                yield f"{place} is left"
            if kind == SIGNING:
                me = place[1].namespace, place[1].name.removesuffix(SIGNING_SUFFIX)
                if "servesWebhooks" not in self.hooks.view.identities.get(me, {}):
                    yield f"{place} is left"

    def _gateways(self) -> Iterator[str]:
        """Yield a fault for each gateway without a key, and each target that does not know it."""
        for me, spec in self.hooks.view.identities.items():
            if "servesWebhooks" in spec:
                place = "Secret", Ref(me[0], me[1] + SIGNING_SUFFIX)
                kid = kid_of(observe.decoded(self.objects.get(place, {})).get(PEM, b""))
                if kid is None:
                    yield f"{me} has no key to sign with"
                for target in self.hooks.targets_of(me):
                    if kid not in key_ids(self._identity_secret(target)):
                        yield f"{target} does not know the key of {me}"
            if not self.hooks.view.unsettled(me) and "gatewayOnly" not in spec["authentication"]:
                found, routes = routes_in(self._identity_secret(me)), self.hooks.routes(me)
                kept = {str(ref) for ref in self.hooks.endpoints if self.hooks.suspended(ref)}
                if routes - found:
                    yield f"{me} is not told of {routes - found}"
                if {each for each in found - routes if each[2] not in kept}:
                    yield f"{me} takes still {found - routes}"
