"""What certificates need of the world: a domain's anchors, and workloads that read them once."""

from collections.abc import Iterable, Iterator

from troth.planning.certificates.anchors import confined, federated, joined
from troth.planning.certificates.rollouts import Restarting, restartable
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child, secret_ref
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.restarts import workloads
from troth.world.facts.objects import IdentitySecret
from troth.world.reader import Reader


def trusted_anchors(domain: TrustDomain, reader: Reader) -> tuple[bytes, ...]:
    """Return the domain's own anchors and those of the domains it federates with, as PEM.

    The result is empty while the domain has no usable authority, because a bundle without the
    domain's own root would break its workloads. A federated root is included only if its name
    constraints confine it to its trust domain, because any other root could issue identities of
    this one, and only if it is another root than the domain's own.
    """
    own = own_anchors(domain, reader)
    if not own:
        return ()
    others = map(reader.authority, federated(domain, reader.registry))
    return joined(own, tuple(anchor for other in others for anchor in confined(other)))


def own_anchors(domain: TrustDomain, reader: Reader) -> tuple[bytes, ...]:
    """Return the domain's own anchors as PEM, empty while it has no usable authority.

    A store for verifiers that do not enforce the constraints of an anchor has only these.
    """
    known = reader.authority(domain)
    return known.anchors if known is not None else ()


def restarting(
    domains: Iterable[TrustDomain], reader: Reader, moment: Moment
) -> Iterator[Restarting]:
    """Yield the identities of domains that declare restarts and have an unexpired leaf."""
    may_restart = reader.restarts_workloads()
    for domain in domains:
        known = reader.authority(domain)
        for identity, secret in _with_leaf(domain, reader, moment):
            listed = (reader.workload(*place) for place in workloads(identity))
            found = tuple(restartable(identity, filter(None, listed)))
            yield Restarting(identity, secret, domain, known, found, may_restart=may_restart)


def _with_leaf(
    domain: TrustDomain, reader: Reader, moment: Moment
) -> Iterator[tuple[ServiceIdentity, IdentitySecret]]:
    registry = reader.registry
    for namespace in registry.governed_by(domain.metadata.name):
        if reader.is_terminating(namespace):
            continue
        for ref in sorted(registry.restarting_in(namespace)):
            identity, secret = registry.identities[ref], reader.identity_secret(secret_ref(ref))
            if secret is None or secret.leaf is None or not is_child(secret, identity):
                continue
            if moment.over_at(secret.leaf.not_after) > moment.now:
                yield identity, secret
