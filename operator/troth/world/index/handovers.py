"""Trust domains that replace a root or a key, and so wait for observations."""

from collections import Counter, defaultdict

from troth.pki.certificates.leaf import Leaf
from troth.trust.declarations.registry import Registry
from troth.world.index.authorities import Authorities
from troth.world.index.token_keys import TokenKeys
from troth.world.keys import Keys, domain_key, view_key


class Signers:
    """Keys of the CAs that signed the leaves in Secrets, by namespace and trust domain."""

    def __init__(self) -> None:
        self._leaves: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        """Number of leaves in a namespace, by trust domain and key identifier of the CA."""

    def take(self, namespace: str, before: Leaf | None, after: Leaf | None) -> None:
        """Take in that a Secret of a namespace holds another leaf."""
        leaves = self._leaves[namespace]
        for each, change in ((before, -1), (after, 1)):
            if each is not None:
                signed = _signed(each)
                leaves[signed] += change
                if not leaves[signed]:
                    del leaves[signed]
        if not leaves:
            del self._leaves[namespace]

    def cut_off(self, namespace: str, registry: Registry, authorities: Authorities) -> Keys:
        """Return the trust domains of which a leaf in a namespace is not from the active CA."""
        leaves = self._leaves.get(namespace, ())
        return {
            domain_key(name)
            for name, domain in (registry.domains.items() if leaves else ())
            if (known := authorities.of(domain)) is not None
            and known.authority is not None
            and any(
                whose == domain.spec.domain and signer != known.authority.subject_key_id
                for whose, signer in leaves
            )
        }


def _signed(leaf: Leaf) -> tuple[str, str]:
    trust_domain, _, _ = leaf.spiffe_id.removeprefix("spiffe://").partition("/")
    return trust_domain, leaf.authority_key_id


def rotating(registry: Registry, authorities: Authorities, tokens: TokenKeys) -> Keys:
    """Return the trust domains whose next phase may depend on the latest observation.

    The first token key waits for bundles, too, and with it the issuer's view.
    """
    first = {
        name
        for name, domain in registry.domains.items()
        if domain.spec.tokens is not None and (made := tokens.of(domain)) and not made.view
    }
    return {*map(domain_key, first), *map(view_key, first)} | {
        domain_key(name)
        for name, domain in registry.domains.items()
        if ((known := authorities.of(domain)) and (known.prepared or known.retiring))
        or ((keys := tokens.of(domain)) and (keys.prepared or keys.retiring))
    }
