"""The Secrets with the keys by which webhook gateways sign what they hand on."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from troth.resources.references import Ref
from troth.trust.registry import Registry
from troth.world.facts.objects import SECRET_SUFFIX, Manifest, SigningSecret
from troth.world.keys import Keys, identity_key, webhook_key
from troth.world.observation.objects import fact_of
from troth.world.observation.secret_data import SecretData
from troth.world.observation.signing_keys import GATEWAYS, signing_keys

TYPE = "troth.dev/webhook-signing"
"""The `type` of a Secret with a gateway's keys."""
GATEWAY = "troth.dev/webhook-gateway"
"""The label by which a gateway finds the Secrets that are for it: its identity's name."""
_SUFFIX = "-webhook-signing"


def signing_ref(gateway: Ref) -> Ref:
    """Return where a gateway's keys are."""
    return Ref(gateway.namespace, gateway.name + _SUFFIX)


def is_signing(secret: Manifest) -> bool:
    """Say whether a Secret is one with a gateway's keys."""
    return secret.get("type") == TYPE


@dataclass(slots=True)
class WebhookSigning:
    """What is known of the keys of gateways."""

    secrets: dict[Ref, SigningSecret] = field(default_factory=dict)

    def of(self, gateway: Ref) -> SigningSecret | None:
        """Return what a gateway signs with, if it is there, whoever's it is."""
        return self.secrets.get(signing_ref(gateway))

    def take(self, ref: Ref, manifest: Manifest | None, uptime: float, registry: Registry) -> Keys:
        """Take in a Secret of any kind as it is now; return whom that concerns.

        A gateway's keys concern it and its targets, which must know them, and the one that signs
        the endpoints that it serves; what a target knows concerns the gateways that wait for it.
        """
        known = self.secrets.pop(ref, None)
        now = _read(manifest) if manifest is not None and is_signing(manifest) else None
        if now is not None:
            self.secrets[ref] = _dated(now, known, uptime)
        concerned = {identity_key(each) for each in self._concerned(ref, known, now, registry)}
        if _active(known) != _active(now):
            gateway = Ref(ref.namespace, ref.name.removesuffix(_SUFFIX))
            concerned |= {webhook_key(each.endpoint) for each in registry.webhooks.through(gateway)}
        return concerned

    def _concerned(
        self,
        ref: Ref,
        before: SigningSecret | None,
        now: SigningSecret | None,
        registry: Registry,
    ) -> Iterator[Ref]:
        gateway = Ref(ref.namespace, ref.name.removesuffix(_SUFFIX))
        if gateway != ref and gateway in registry.identities:
            yield gateway
            if _published(before) != _published(now):
                yield from registry.neighbours(gateway)
        target = Ref(ref.namespace, ref.name.removesuffix(SECRET_SUFFIX))
        if target != ref:
            for route in registry.webhooks.to(target):
                keys = self.of(route.gateway)
                if keys is not None and (keys.prepared or keys.retiring):
                    yield route.gateway


def _read(secret: Manifest) -> SigningSecret:
    common = fact_of(secret)
    return SigningSecret(**common, **signing_keys(SecretData(secret), GATEWAYS, common["ref"]))


def _dated(now: SigningSecret, known: SigningSecret | None, uptime: float) -> SigningSecret:
    same = known if known is not None and known.uid == now.uid else None
    return replace(
        now,
        active_since=same.active_since if same and same.active == now.active else uptime,
        prepared_since=same.prepared_since if same and same.prepared == now.prepared else uptime,
    )


def _active(secret: SigningSecret | None) -> object:
    return secret.active if secret else None


def _published(secret: SigningSecret | None) -> object:
    """Return what of it targets must know: its keys, while they are the gateway's."""
    return (secret.keys, secret.labels, secret.owner_uids) if secret else None
