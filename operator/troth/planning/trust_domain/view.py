"""Gathers the inputs of the plans of a TrustDomain and of its issuer's view from the world.

A domain may govern thousands of namespaces. So `gather_rotation` reads what a rotation waits for
only in the phase that waits for it.
"""

from collections.abc import Iterable, Iterator

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.planning.certificates.anchors import confined, federated, roots_in, trusting
from troth.planning.certificates.view import restarting, trusted_anchors
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child, secret_ref
from troth.planning.trust_domain.facts import (
    Bundles,
    DomainView,
    Federated,
    HeldLeaf,
    IssuerView,
    KeyEvidence,
    KnownDomain,
    KnownIssuer,
    NetworkIsolation,
    Rivals,
    RootEvidence,
    RootReader,
    RotationView,
    Written,
    isolation_of,
    own_tokens,
)
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import Isolation
from troth.trust.declarations.governance import perhaps_taken_by, taken_by
from troth.world.facts.objects import (
    ISOLATION_POLICY,
    SECRET_SUFFIX,
    Content,
    IdentitySecret,
    KnownAuthority,
    TokensSecret,
)
from troth.world.facts.owned import OwnedObject
from troth.world.keys import Key, domain_key
from troth.world.reader import Reader

# The domain


def gather(key: Key, reader: Reader, moment: Moment) -> KnownDomain:
    """Return what is known of the trust domain of a key."""
    domain = reader.registry.domains.get(key.ref.name)
    written = _written(key.ref.name, reader)
    view = None
    if domain is not None and not is_terminating(domain):
        view = _gather_domain(domain, written, reader, moment)
    isolation = gather_isolation(key.ref.name, reader)
    return KnownDomain(key, reader.unreadable(key), domain, written, isolation, view, moment)


def _written(domain: str, reader: Reader) -> Written:
    return Written(
        bundles=reader.bundles_of(domain),
        issuer_secrets=reader.issuer_secrets_of(domain),
        authority=reader.authority_secret(domain),
    )


def _gather_domain(
    domain: TrustDomain, written: Written, reader: Reader, moment: Moment
) -> DomainView:
    anchors, authority_ref = trusted_anchors(domain, reader), reader.authority_ref(domain)
    rotation, issuer_ref = gather_rotation(domain, reader, moment), reader.issuer_ref(domain)
    held = rotation.authority.secret if rotation.authority is not None else None
    found, issuer = reader.identity_secret(issuer_ref), _issuer_secret(domain, reader)
    return DomainView(
        rotation=rotation,
        own_namespace=reader.own_namespace,
        written=written,
        authority_place=reader.owned("Secret", authority_ref, held),
        tokens_place=reader.owned("Secret", reader.tokens_ref(domain), rotation.tokens),
        issuer_place=reader.owned("Secret", issuer_ref, found),
        issuer=issuer,
        issuer_signed=reader.signed_by(rotation.authority, issuer),
        anchors=anchors,
        federated=tuple(_federated(domain, reader)),
        bundles=tuple(_owned_bundles(domain, reader)) if anchors else (),
        terminating=reader.terminating(),
    )


def _federated(domain: TrustDomain, reader: Reader) -> Iterator[Federated]:
    for other in federated(domain, reader.registry):
        tokens = own_tokens(other, reader.tokens_secret(other))
        keys = tokens.keys if tokens is not None else ()
        yield Federated(other, confined(reader.authority(other)), keys)


def _owned_bundles(domain: TrustDomain, reader: Reader) -> Iterator[OwnedObject[Content]]:
    for namespace in reader.registry.governed_by(domain.metadata.name):
        ref = Ref(namespace, domain.spec.bundle.config_map_name)
        yield reader.owned("ConfigMap", ref, reader.config_map(ref))


def _issuer_secret(domain: TrustDomain, reader: Reader) -> IdentitySecret | None:
    """Return the Secret with the issuer's certificate, None if it is missing or not Troth's."""
    secret = reader.identity_secret(reader.issuer_ref(domain))
    return secret if secret is not None and is_child(secret, domain) else None


def gather_rivals(domain: TrustDomain, reader: Reader) -> Rivals:
    """Return the other domains that have, or may have, the SPIFFE trust domain of this one."""

    def has_root(each: TrustDomain) -> bool:
        # a lost authority can return from a backup; until then the status records it
        known = reader.authority(each)
        owned = known is not None and is_child(known.secret, each)
        return owned or bool(each.status.authorities)

    registry = reader.registry
    holder = taken_by(domain, registry.domains, has_root)
    perhaps = perhaps_taken_by(domain, registry.unread_domains)
    return Rivals(holder, None if has_root(domain) else perhaps)


def gather_isolation(name: str, reader: Reader) -> NetworkIsolation:
    """Return what the isolation of a domain's namespaces depends on."""
    registry, messaging = reader.registry, reader.messaging
    domain = registry.domains.get(name)
    brokers = (*messaging.brokers.values(), *reader.leaving_brokers())
    unread = (
        *(Key("MessageBroker", ref) for ref in messaging.invalid_brokers),
        *(Key("ServiceIdentity", ref) for ref in registry.invalid_identities),
    )
    spaces = {*registry.namespaces, *(each.ref.namespace for each in unread)}
    found = {each: reader.network_policy(Ref(each, ISOLATION_POLICY)) for each in spaces}
    policies = {space: policy for space, policy in found.items() if policy is not None}
    isolates = domain is not None and isolation_of(domain) is Isolation.NAMESPACE
    governed = (*registry.governed_by(name), *registry.left_by(name)) if isolates else ()
    return NetworkIsolation(
        registry=registry,
        own_namespace=reader.own_namespace,
        brokers=brokers,
        unread=tuple(sorted(unread)),
        policies=policies,
        places={
            each: reader.owned("NetworkPolicy", Ref(each, ISOLATION_POLICY), policies.get(each))
            for each in governed
        },
        terminating=reader.terminating(),
    )


# The issuer


def gather_known_issuer(key: Key, reader: Reader, moment: Moment) -> KnownIssuer:
    """Return what is known of the issuer of the trust domain of a key."""
    domain = reader.registry.domains.get(key.ref.name)
    if domain is None or is_terminating(domain) or domain.spec.tokens is None:
        return KnownIssuer(key, None)
    return KnownIssuer(key, gather_issuer(domain, reader, moment))


def gather_issuer(domain: TrustDomain, reader: Reader, moment: Moment) -> IssuerView:
    """Return the inputs of the configuration of a domain's issuer."""
    known = own_tokens(domain, reader.tokens_secret(domain))
    first = known is not None and not known.view
    return IssuerView(
        domain=domain,
        registry=reader.registry,
        own_namespace=reader.own_namespace,
        # the bundle comes first: issuers need it, and of two writes at once one would fail
        known=known if known is not None and known.bundle else None,
        bundles=_key_bundles(domain, reader) if first else (),
        written=reader.view_written(reader.tokens_ref(domain)),
        entries=reader.caller_entries(),
        moment=moment,
    )


# The rotations


def gather_rotation(domain: TrustDomain, reader: Reader, moment: Moment) -> RotationView:
    """Return the inputs of the rotation of a domain's root and token keys."""
    authority, tokens = reader.authority(domain), reader.tokens_secret(domain)
    return RotationView(
        domain=domain,
        registry=reader.registry,
        messaging=reader.messaging,
        rotations=reader.rotations(domain_key(domain.metadata.name)),
        rivals=gather_rivals(domain, reader),
        authority=authority,
        given=reader.given_authority(domain),
        tokens=tokens,
        root=_root_evidence(domain, authority, reader, moment),
        token_key=_key_evidence(domain, own_tokens(domain, tokens), reader),
        moment=moment,
    )


def _root_evidence(
    domain: TrustDomain, known: KnownAuthority | None, reader: Reader, moment: Moment
) -> RootEvidence:
    if known is None or known.authority is None or not is_child(known.secret, domain):
        return RootEvidence()
    if known.retiring is None and known.prepared is not None:
        trust = tuple(trusting(known.prepared, domain, reader.registry))
        return RootEvidence(
            readers=tuple(readers_of(known.prepared, domain, reader, moment)),
            restarting=tuple(restarting(trust, reader, moment)),
            unlisted=_without_list(trust, reader),
        )
    leaves = tuple(_leaves(domain, known, reader, moment))
    if known.retiring is None:
        return RootEvidence(leaves=leaves)
    return RootEvidence(
        leaves=leaves,
        restarting=tuple(restarting([domain], reader, moment)),
        unlisted=_without_list([domain], reader),
    )


def _key_evidence(domain: TrustDomain, known: TokensSecret | None, reader: Reader) -> KeyEvidence:
    if known is None or known.active is None or (known.view and known.prepared is None):
        return KeyEvidence()
    verifying = (domain, *federated(domain, reader.registry))
    unlisted = _without_list(verifying, reader) if known.prepared is not None else ()
    return KeyEvidence(_key_bundles(domain, reader), unlisted)


def _key_bundles(domain: TrustDomain, reader: Reader) -> Bundles:
    """Return the bundle of each namespace that verifies tokens of a domain."""
    return tuple(
        (namespace, bundle)
        for each in (domain, *federated(domain, reader.registry))
        for namespace, bundle, foreign in _bundles(each, reader)
        if not foreign
    )


def _without_list(domains: Iterable[TrustDomain], reader: Reader) -> tuple[str, ...]:
    """Return the namespaces of trust domains whose objects are unknown, sorted.

    Troth has no list of the objects there.
    """
    registry = reader.registry
    claimed = {space for each in domains for space in registry.claimed_by(each)}
    unlisted = (each for each in registry.unlisted_ones() if each in claimed)
    return tuple(each for each in unlisted if not reader.is_terminating(each))


def _bundles(domain: TrustDomain, reader: Reader) -> Iterator[tuple[str, Content | None, bool]]:
    """Yield the bundle of each governed namespace, and whether it is foreign.

    A foreign one is a `Conflict` of the TrustDomain, and blocks no rotation: anyone who can create
    a ConfigMap could block one for ever. Namespaces that are being deleted do not count.
    """
    for namespace in reader.registry.governed_by(domain.metadata.name):
        if not reader.is_terminating(namespace):
            ref = Ref(namespace, domain.spec.bundle.config_map_name)
            bundle = reader.config_map(ref)
            foreign = (
                not is_child(bundle, domain)
                if bundle is not None
                else reader.owned("ConfigMap", ref, None).seen is not None
            )
            yield namespace, bundle, foreign


def readers_of(
    root: Authority, domain: TrustDomain, reader: Reader, moment: Moment
) -> Iterator[RootReader]:
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
    for each in trusting(root, domain, reader.registry):
        for namespace, bundle, foreign in _bundles(each, reader):
            governed[namespace] = each
            if not foreign:
                text = bundle.data.get(ROOTS, "") if bundle else ""
                since = bundle.since if bundle else moment.uptime
                yield RootReader(namespace, None, roots_in(text), since)
    issuer = _issuer_secret(domain, reader)  # all its callers are in its own trust domain
    for secret in _held_secrets(reader):
        reads_for = domain if secret is issuer else governed.get(secret.ref.namespace)
        if reads_for is None or secret.leaf is None:
            continue
        if not reader.signed_by(reader.authority(reads_for), secret):
            continue
        until = moment.over_at(secret.leaf.not_after)
        if until > moment.now:
            roots = roots_in(secret.public.get(ROOTS, ""))
            yield RootReader(secret.ref.namespace, secret.ref, roots, secret.roots_since, until)


def _leaves(
    domain: TrustDomain, known: KnownAuthority, reader: Reader, moment: Moment
) -> Iterator[HeldLeaf]:
    """Yield the Secrets that hold a leaf of this trust domain that may still be valid.

    Identities in a namespace that has left the domain have no peers any more, so their Secrets do
    not count. The issuer's Secret always counts, because the whole domain calls the issuer.
    """
    prefix = f"spiffe://{domain.spec.domain}/"
    issuer, retires = _issuer_secret(domain, reader), known.retiring is not None
    for secret in _held_secrets(reader):
        leaf = secret.leaf
        if leaf is None or moment.now >= moment.over_at(leaf.not_after):
            continue
        if leaf.spiffe_id.startswith(prefix):
            governance = reader.registry.governance(secret.ref.namespace)
            if secret is issuer or governance.domain is domain or not governance.settled:
                active = retires and reader.signed(known.authority, secret)
                yield HeldLeaf(secret, active, reader.signed(known.retiring, secret))


def _held_secrets(reader: Reader) -> Iterator[IdentitySecret]:
    """Yield the Secrets of issuers, and those of identities that exist and are not being deleted.

    Labels are no evidence, because anyone can set them. The Secret of an identity has its owner
    reference. The Secret of an issuer is in Troth's own namespace.
    """
    registry = reader.registry
    terminating = {secret_ref(ref) for ref in registry.terminating_identities}
    issuers = {reader.issuer_ref(domain) for domain in registry.domains.values()}
    for secret in reader.identity_secrets():
        ref = secret.ref
        if ref not in terminating and (ref in issuers or _is_owned(secret, reader)):
            yield secret


def _is_owned(secret: IdentitySecret, reader: Reader) -> bool:
    """Return whether the identity that a Secret is named after exists and owns it.

    An identity with an unreadable spec counts too: its workloads still use the Secret.
    """
    identity = Ref(secret.ref.namespace, secret.ref.name.removesuffix(SECRET_SUFFIX))
    if secret.ref != secret_ref(identity):  # a copy under another name
        return False
    uid = reader.uid("ServiceIdentity", identity)
    return uid is not None and uid in secret.owner_uids
