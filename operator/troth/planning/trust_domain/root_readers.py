"""Readers of a root: bundles and Secrets from which verifiers of its leaves read their roots."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.planning.certificates.anchors import roots_in, trusting
from troth.planning.moment import Moment
from troth.planning.network.issuers import issuer_secret
from troth.planning.owned_objects import is_child, secret_ref
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import SECRET_SUFFIX, IdentitySecret
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

    Namespaces that are being deleted do not count, and neither does a foreign bundle, because Troth
    cannot write to it. Nor do Secrets whose leaf has expired, because no workload can use them, nor
    those of identities that are being deleted, because they have no peers any more. A leaf that the
    authority of its namespace's domain did not sign is no evidence of a reader.
    """
    governed: dict[str, TrustDomain] = {}
    for each in trusting(root, domain, world):
        for namespace in world.registry.governed_by(each.metadata.name):
            if namespace in world.terminating:
                continue
            governed[namespace] = each
            ref = Ref(namespace, each.spec.bundle.config_map_name)
            if is_foreign_bundle(ref, each, world):
                continue
            bundle = world.bundles.get(ref)
            text = bundle.data.get(ROOTS, "") if bundle else ""
            since = bundle.since if bundle else moment.uptime
            yield Reader(namespace, None, roots_in(text), since)
    issuer = issuer_secret(domain, world)  # all its callers are in its own trust domain
    for ref, secret in held_secrets(world):
        reads_for = domain if secret is issuer else governed.get(ref.namespace)
        if reads_for is None or secret.leaf is None or not signed_by(reads_for, secret, world):
            continue
        until = moment.over_at(secret.leaf.not_after)
        if until > moment.now:
            roots = roots_in(secret.public.get(ROOTS, ""))
            yield Reader(ref.namespace, ref, roots, secret.roots_since, until)


def without_list(domains: Iterable[TrustDomain], world: World) -> Iterator[str]:
    """Yield the namespaces of trust domains whose readers are unknown, sorted.

    Troth has no list of the objects there.
    """
    registry = world.registry
    claimed = {space for each in domains for space in registry.claimed_by(each)}
    for namespace in registry.unlisted_ones():
        if namespace in claimed and namespace not in world.terminating:
            yield namespace


def is_foreign_bundle(ref: Ref, domain: TrustDomain, world: World) -> bool:
    """Return whether an object that Troth does not write has the name of a domain's bundle.

    It is a `Conflict` of the TrustDomain, and blocks no rotation: anyone who can create a ConfigMap
    could block one for ever.
    """
    bundle = world.bundles.get(ref)
    if bundle is not None:
        return not is_child(bundle, domain)
    return ("ConfigMap", ref) in world.foreign


def held_secrets(world: World) -> Iterator[tuple[Ref, IdentitySecret]]:
    """Yield the Secrets of issuers, and those of identities that exist and are not being deleted.

    Labels are no evidence, because anyone can set them. The Secret of an identity has its owner
    reference. The Secret of an issuer is in Troth's own namespace.
    """
    terminating = {secret_ref(ref) for ref in world.registry.terminating_identities}
    issuers = {world.tokens.leaf_ref(domain) for domain in world.registry.domains.values()}
    for ref, secret in world.secrets.items():
        if ref not in terminating and (ref in issuers or _is_owned(secret, world)):
            yield ref, secret


def signed_by(domain: TrustDomain, secret: IdentitySecret | None, world: World) -> bool:
    """Return whether an authority of a trust domain signed the leaf in a Secret."""
    known = world.authorities.of(domain)
    slots = known.slots if known is not None else ()
    return any(world.signatures.signed(each, secret) for each in slots)


def _is_owned(secret: IdentitySecret, world: World) -> bool:
    """Return whether the identity that a Secret is named after exists and owns it.

    An identity with an unreadable spec counts too: its workloads still use the Secret.
    """
    identity = Ref(secret.ref.namespace, secret.ref.name.removesuffix(SECRET_SUFFIX))
    if secret.ref != secret_ref(identity):  # a copy under another name
        return False
    known = world.version("ServiceIdentity", identity)
    return known is not None and known.uid in secret.owner_uids
