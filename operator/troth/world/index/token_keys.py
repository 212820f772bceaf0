"""Secrets of token issuers, in Troth's own namespace."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Cutoff, Manifest, TokensSecret
from troth.world.observation import objects as observe

CallerEntry = tuple[str, str, dict[str, Any]]
"""An identity's entry in an issuer's view: its trust domain, its SPIFFE ID and its part."""
_SUFFIX = "-tokens"
_LEAF_SUFFIX = "-issuer"


@dataclass(slots=True)
class TokenKeys:
    """Index of the Secrets of token issuers."""

    own_namespace: str
    secrets: dict[str, TokensSecret] = field(default_factory=dict)
    """Secrets by name."""
    entries: dict[Ref, CallerEntry] = field(default_factory=dict)
    """Cache of the entry of each identity in the view, until the identity or a peer changes."""
    view_written: dict[str, float] = field(default_factory=dict)
    """Time of Troth's last write of each view, in seconds of this process's uptime, by name."""

    def take(self, name: str, manifest: Manifest | None, uptime: float) -> bool:
        """Take in the current state of a Secret; return whether the keys to publish changed."""
        known = self.secrets.pop(name, None)
        if manifest is not None and name.endswith(_SUFFIX):
            now = observe.tokens_secret(manifest)
            kept = known is not None and known.active == now.active
            coming = known is not None and known.prepared == now.prepared
            self.secrets[name] = replace(
                now,
                active_since=known.active_since if known and kept else uptime,
                prepared_since=known.prepared_since if known and coming else uptime,
            )
        else:
            self.view_written.pop(name, None)
        return _published(known) != _published(self.secrets.get(name))

    def cutoffs(self, name: str) -> Mapping[str, Cutoff]:
        """Return the oldest identity of each namespace that a view has no room for."""
        secret = self.secrets.get(name)
        return secret.cutoffs if secret else {}

    def ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with a trust domain's token keys and issuer configuration."""
        return Ref(self.own_namespace, domain.metadata.name + _SUFFIX)

    def leaf_ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with the certificate of a trust domain's issuer."""
        return Ref(self.own_namespace, domain.metadata.name + _LEAF_SUFFIX)

    def of(self, domain: TrustDomain) -> TokensSecret | None:
        """Return the Secret with the name of an issuer's, with any owner; None if there is none."""
        return self.named(domain.metadata.name)

    def named(self, domain: str) -> TokensSecret | None:
        """Return the Secret of the issuer of the trust domain with this name."""
        return self.secrets.get(domain + _SUFFIX)


def _published(secret: TokensSecret | None) -> object:
    """Return the keys that go into bundles, while the Secret belongs to the domain."""
    return (secret.keys, secret.labels) if secret else None
