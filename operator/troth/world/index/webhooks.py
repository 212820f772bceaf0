"""Index of the Secrets of webhooks, and the keys that their changes affect."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from troth.documents.gateway_report import Verified, parse_member
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.webhooks import Route
from troth.trust.multimap import Multimap
from troth.world.facts.objects import SECRET_SUFFIX, Fact, IdentitySecret, Manifest
from troth.world.facts.webhook import CompiledSecret, KeysSecret
from troth.world.keys import Keys, identity_key, webhook_key
from troth.world.observation.webhook_secrets import (
    compiled_secret,
    endpoint_of,
    is_compiled,
    is_generated,
    is_given,
    keys_secret,
    owner_of_generated,
)

Report = Mapping[Ref, Verified]
"""Time at which each key last verified a delivery, by endpoint."""
_REPORT_SUFFIX = "-webhook-keys"


class WebhookState:
    """Secrets with keys, compiled endpoints, and reports of gateways."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.given: dict[Ref, KeysSecret] = {}
        """Secrets that people labelled for Troth."""
        self.generated: dict[Ref, KeysSecret] = {}
        self.compiled: dict[Ref, CompiledSecret] = {}
        self._reports: dict[Ref, Report] = {}
        self._naming = Multimap[Ref, Ref]()
        self._compiled_of = Multimap[Ref, Ref]()

    # Queries

    def compiled_from(self, endpoint: Ref) -> tuple[CompiledSecret, ...]:
        """Return the compiled Secrets of an endpoint, for all gateways, sorted."""
        return tuple(self.compiled[ref] for ref in sorted(self._compiled_of.of(endpoint)))

    def verified(self, endpoint: Ref, gateway: Ref) -> Verified:
        """Return the time at which each key of an endpoint last verified, from the report."""
        return self._reports.get(report_ref(gateway), {}).get(endpoint, {})

    def everything(self) -> Keys:
        """Return every endpoint that is declared, or of which owned objects exist."""
        webhooks = self._registry.webhooks
        left = (each.endpoint for each in self.compiled.values())
        made = filter(None, map(owner_of_generated, self.generated))
        declared = {*webhooks.endpoints, *webhooks.terminating, *webhooks.invalid}
        known = {*declared, *left, *made}
        return {webhook_key(ref) for ref in known}

    # Changes

    def take_endpoint(self, before: WebhookEndpoint | None, after: WebhookEndpoint | None) -> None:
        """Take in which Secret an endpoint names."""
        for each, change in ((before, self._naming.discard), (after, self._naming.add)):
            if each is not None and each.given_secret is not None:
                change(each.given_secret, each.ref)

    def take_given(self, ref: Ref, manifest: Manifest | None, uptime: float) -> Keys:
        """Take in a labelled Secret, None if it was deleted or is no longer labelled."""
        before = self.given.pop(ref, None)
        if manifest is not None and is_given(manifest):
            self.given[ref] = _with_first_seen(keys_secret(manifest), before, uptime)
        if _same(before, self.given.get(ref)):
            return set()
        return {webhook_key(each) for each in self._naming.of(ref)}

    def take_secret(self, ref: Ref, manifest: Manifest | None, uptime: float) -> Keys:
        """Take in any Secret that Troth wrote; return the affected endpoints."""
        facts: list[Fact | None] = [self.generated.get(ref), self.compiled.get(ref)]
        self._take_generated(ref, manifest, uptime)
        self._take_compiled(ref, manifest)
        facts += [self.generated.get(ref), self.compiled.get(ref)]
        owners = {owner_of_generated(ref), endpoint_of(ref)} - {None}
        concerned = {each for each in owners if each is not None and self._knows(each)}
        if any(each is not None for each in facts):
            concerned |= {each for each in owners if each is not None}
        return {webhook_key(each) for each in concerned}

    def take_report(self, ref: Ref, manifest: Manifest | None) -> Keys:
        """Take in a gateway's report; return the endpoints for which it changed."""
        before, after = self._reports.pop(ref, {}), _report(manifest)
        if after:
            self._reports[ref] = after
        changed = {each for each in (*before, *after) if before.get(each) != after.get(each)}
        return {webhook_key(each) for each in changed if self._knows(each)}

    def _knows(self, endpoint: Ref) -> bool:
        webhooks = self._registry.webhooks
        return endpoint in webhooks.endpoints or endpoint in webhooks.invalid

    def _take_generated(self, ref: Ref, manifest: Manifest | None, uptime: float) -> None:
        before = self.generated.pop(ref, None)
        if manifest is not None and is_generated(manifest):
            self.generated[ref] = _with_first_seen(keys_secret(manifest), before, uptime)

    def _take_compiled(self, ref: Ref, manifest: Manifest | None) -> None:
        before = self.compiled.pop(ref, None)
        if before is not None:
            self._compiled_of.discard(before.endpoint, ref)
        if manifest is not None and is_compiled(manifest):
            fact = self.compiled[ref] = compiled_secret(manifest)
            self._compiled_of.add(fact.endpoint, ref)

    # Affected keys

    def around(self, kind: str, ref: Ref, affected: Keys) -> Keys:
        """Return the endpoints that a change of a declared object affects, in addition to
        `affected`.

        A gateway has many targets and is affected by each of them, which does not affect the
        endpoints of the others. A change of the gateway itself or of its governance does.
        """
        concerned = self.around_targets(affected)
        match kind:
            case "ServiceIdentity":
                return concerned | self._around_gateways({identity_key(ref)})
            case "TrustDomain":
                return concerned | self._around_gateways(affected)
            case _:
                return concerned

    def around_targets(self, affected: Keys) -> Keys:
        """Return the endpoints with any of these identities as target."""
        return self._routed(self._registry.webhooks.to, affected)

    def _around_gateways(self, affected: Keys) -> Keys:
        return self._routed(self._registry.webhooks.through, affected)

    def _routed(self, by: Callable[[Ref], tuple[Route, ...]], affected: Keys) -> Keys:
        return {
            webhook_key(route.endpoint)
            for key in affected
            if key.kind == "ServiceIdentity"
            for route in by(key.ref)
        }

    def around_deliveries(
        self, ref: Ref, before: IdentitySecret | None, after: IdentitySecret | None
    ) -> Keys:
        """Return the endpoints whose target owns this Secret, if its deliveries changed."""
        if _listed_since(before) == _listed_since(after):
            return set()
        target = Ref(ref.namespace, ref.name.removesuffix(SECRET_SUFFIX))
        return {webhook_key(route.endpoint) for route in self._registry.webhooks.to(target)}

    def around_namespace(self, namespace: str) -> Keys:
        """Return the endpoints of a namespace, and those compiled into it."""
        there = (
            each.endpoint for each in self.compiled.values() if each.ref.namespace == namespace
        )
        webhooks = self._registry.webhooks
        declared = (*webhooks.endpoints, *webhooks.terminating)
        here = (ref for ref in declared if ref.namespace == namespace)
        through = (
            ref
            for ref, endpoint in webhooks.endpoints.items()
            if endpoint.gateway is not None and endpoint.gateway.namespace == namespace
        )
        return set(map(webhook_key, {*there, *here, *through}))


def report_ref(gateway: Ref) -> Ref:
    """Return the ConfigMap with a gateway's report."""
    return Ref(gateway.namespace, gateway.name + _REPORT_SUFFIX)


def _report(manifest: Manifest | None) -> Report:
    data = (manifest.get("data") or {}) if manifest is not None else {}
    found = {}
    for name, text in data.items():
        namespace, dot, endpoint = name.partition(".")
        verified = parse_member(text) if dot and isinstance(text, str) else {}
        if verified:
            found[Ref(namespace, endpoint)] = verified
    return found


def _with_first_seen(now: KeysSecret, before: KeysSecret | None, uptime: float) -> KeysSecret:
    """Return a Secret with the time since which its keys are known."""
    same = before is not None and before.uid == now.uid and before.keys == now.keys
    return replace(now, since=before.since if same and before is not None else uptime)


def _listed_since(secret: IdentitySecret | None) -> object:
    return (secret.webhooks_since, secret.webhook_keys_since) if secret else ({}, {})


def _same(before: KeysSecret | None, after: KeysSecret | None) -> bool:
    if before is None or after is None:
        return before is after
    return (before.uid, before.keys, before.unread) == (after.uid, after.keys, after.unread)
