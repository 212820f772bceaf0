"""Secrets with the keys with which webhook gateways sign tokens."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.world.facts.objects import SECRET_SUFFIX, Manifest, SigningSecret
from troth.world.keys import Keys, identity_key, webhook_key
from troth.world.observation.objects import fact_of
from troth.world.observation.secret_data import SecretData
from troth.world.observation.signing_keys import GATEWAYS, signing_keys

TYPE = "troth.dev/webhook-signing"
"""`type` of a Secret with a gateway's keys."""
_SUFFIX = "-webhook-signing"


def signing_ref(gateway: Ref) -> Ref:
    """Return the Secret with a gateway's keys."""
    return Ref(gateway.namespace, gateway.name + _SUFFIX)


def is_signing(secret: Manifest) -> bool:
    """Return whether a Secret has a gateway's keys."""
    return secret.get("type") == TYPE


@dataclass(slots=True)
class WebhookSigning:
    """Index of the keys of gateways."""

    secrets: dict[Ref, SigningSecret] = field(default_factory=dict)

    def of(self, gateway: Ref) -> SigningSecret | None:
        """Return the Secret with the name of a gateway's, with any owner; None if there is none."""
        return self.secrets.get(signing_ref(gateway))

    def take(self, ref: Ref, manifest: Manifest | None, uptime: float, registry: Registry) -> Keys:
        """Take in the current state of any Secret; return the affected keys.

        A gateway's keys affect the gateway, its targets, which must know them, and the endpoints
        that it serves. The keys that a target knows affect the gateways that wait for it.
        """
        known = self.secrets.pop(ref, None)
        now = _read(manifest) if manifest is not None and is_signing(manifest) else None
        if now is not None:
            self.secrets[ref] = _with_first_seen(now, known, uptime)
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


def _with_first_seen(
    now: SigningSecret, known: SigningSecret | None, uptime: float
) -> SigningSecret:
    same = known if known is not None and known.uid == now.uid else None
    return replace(
        now,
        active_since=same.active_since if same and same.active == now.active else uptime,
        prepared_since=same.prepared_since if same and same.prepared == now.prepared else uptime,
    )


def _active(secret: SigningSecret | None) -> object:
    return secret.active if secret else None


def _published(secret: SigningSecret | None) -> object:
    """Return the keys that targets must know, while the Secret belongs to the gateway."""
    return (secret.keys, secret.labels, secret.owner_uids) if secret else None
