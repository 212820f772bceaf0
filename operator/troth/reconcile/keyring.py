"""The private keys of authorities: fed by the same events as the world, kept apart from it."""

from troth.pki.authorities import SigningAuthority, load_signing_authority
from troth.resources.references import Ref
from troth.world.facts import Manifest
from troth.world.observe import KEY, LEAF, ROOTS, decoded


class Keyring:
    """Holds what signs. Never shown, never logged, never in the world."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace
        self._secrets: dict[Ref, dict[str, bytes]] = {}
        self._signers: dict[tuple[Ref, str], SigningAuthority] = {}

    def observe(self, manifest: Manifest) -> None:
        """Take in a Secret; only those of Troth's own namespace are kept."""
        ref = Ref.of(manifest)
        if ref.namespace == self._own_namespace:
            self.forget(ref)
            data = decoded(manifest)
            self._secrets[ref] = {name: data[name] for name in (LEAF, KEY, ROOTS) if name in data}

    def forget(self, ref: Ref) -> None:
        """Take in that a Secret is gone."""
        self._secrets.pop(ref, None)
        for key in [key for key in self._signers if key[0] == ref]:
            del self._signers[key]

    def signer(self, ref: Ref, trust_domain: str) -> SigningAuthority | None:
        """Return the authority in a Secret with its key; raises `PKIError` if it cannot sign."""
        if (ref, trust_domain) not in self._signers:
            secret = self._secrets.get(ref)
            if secret is None:
                return None
            self._signers[ref, trust_domain] = load_signing_authority(
                secret.get(LEAF, b""), secret.get(KEY), secret.get(ROOTS), trust_domain
            )
        return self._signers[ref, trust_domain]
