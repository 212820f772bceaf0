"""The Secrets of Troth's own namespace that issuers of tokens work from."""

from dataclasses import dataclass, field, replace
from typing import Any

from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Manifest, TokensSecret
from troth.world.observation import objects as observe

_SUFFIX = "-tokens"
_LEAF_SUFFIX = "-issuer"


@dataclass(slots=True)
class TokenKeys:
    """What is known of the keys that sign tokens."""

    own_namespace: str
    secrets: dict[str, TokensSecret] = field(default_factory=dict)
    """By name."""
    entries: dict[Ref, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)
    """What planning has worked out that an identity may have: its trust domain, its SPIFFE ID, and
    its part of the view; forgotten when the identity or a peer of it changes."""
    view_written: dict[str, float] = field(default_factory=dict)
    """When, in seconds of this process's uptime, Troth last wrote the view there; by name."""

    def take(self, name: str, manifest: Manifest | None, uptime: float) -> bool:
        """Take in a Secret as it is now; return whether other keys are to be published."""
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

    def remember(self, identity: Ref, entry: tuple[str, str, dict[str, Any]]) -> None:
        """Keep what planning has worked out of an identity, until it or a peer changes."""
        self.entries[identity] = entry

    def ref(self, domain: TrustDomain) -> Ref:
        """Return where a trust domain's issuer has its keys and its view."""
        return Ref(self.own_namespace, domain.metadata.name + _SUFFIX)

    def leaf_ref(self, domain: TrustDomain) -> Ref:
        """Return where a trust domain's issuer has its certificate."""
        return Ref(self.own_namespace, domain.metadata.name + _LEAF_SUFFIX)

    def of(self, domain: TrustDomain) -> TokensSecret | None:
        """Return what a trust domain's issuer works from, if it is there, whoever's it is."""
        return self.named(domain.metadata.name)

    def named(self, domain: str) -> TokensSecret | None:
        """Return what the issuer of a trust domain of this name works from."""
        return self.secrets.get(domain + _SUFFIX)


def _published(secret: TokensSecret | None) -> object:
    """Return what of an issuer's Secret goes into bundles: its keys, while it is the domain's."""
    return (secret.keys, secret.labels) if secret else None
