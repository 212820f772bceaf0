"""Readers of a root: bundles and Secrets from which verifiers of its leaves read their roots."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.planning.certificates.anchors import roots_in, trusting
from troth.planning.moment import Moment
from troth.planning.owned_objects import secret_ref
from troth.planning.trust_domain.issuers import is_issuers, issuer_secret
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import IdentitySecret
from troth.world.world import World


class Reader(NamedTuple):
    """A bundle or Secret from which verifiers read roots, and since when (uptime) it holds them.

    `secret` is the Secret, None for the bundle of a namespace. `until` is the time from which no
    workload can use it, if that is known.
    """

    namespace: str
    secret: Ref | None
    roots: frozenset[str]
    since: float
    until: datetime | None = None

    @property
    def name(self) -> str:
        """Name of the reader in a sentence."""
        return (
            f"Secret {self.secret}" if self.secret else f"the bundle of namespace {self.namespace}"
        )


def readers_of(
    root: Authority, domain: TrustDomain, world: World, moment: Moment
) -> Iterator[Reader]:
    """Yield everything from which verifiers of a root's leaves read their roots.

    These are the bundle of every namespace that the root's domain, or one that may trust it,
    governs; the Secrets of the identities there; and the Secret of the domain's issuer. A missing
    bundle holds no roots.

    Namespaces that are being deleted do not count. Nor do Secrets whose leaf has expired, because
    no workload can use them, nor those of identities that are being deleted, because they have no
    peers any more.
    """
    governed: set[str] = set()
    for each in trusting(root, domain, world):
        for namespace in world.registry.governed_by(each.metadata.name):
            if namespace in world.terminating:
                continue
            governed.add(namespace)
            bundle = world.bundles.get(Ref(namespace, each.spec.bundle.config_map_name))
            text = bundle.data.get(ROOTS, "") if bundle else ""
            since = bundle.since if bundle else moment.uptime
            yield Reader(namespace, None, roots_in(text), since)
    issuer = issuer_secret(domain, world)  # all its callers are in its own trust domain
    for ref, secret in held_secrets(world):
        reads = secret is issuer or (ref.namespace in governed and not is_issuers(secret))
        if not reads or secret.leaf is None:
            continue
        until = moment.over_at(secret.leaf.not_after)
        if until > moment.now:
            roots = roots_in(secret.public.get(ROOTS, ""))
            yield Reader(ref.namespace, ref, roots, secret.roots_since, until)


def held_secrets(world: World) -> Iterator[tuple[Ref, IdentitySecret]]:
    """Yield the Secrets of issuers and of identities, except of identities being deleted."""
    terminating = {secret_ref(ref) for ref in world.registry.terminating_identities}
    for ref, secret in world.secrets.items():
        if ref not in terminating:
            yield ref, secret
