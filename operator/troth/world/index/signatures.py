"""Which authority signed the leaf in each Secret, verified once for each leaf and authority."""

from dataclasses import dataclass, field

from troth.pki.certificates.authorities import Authority
from troth.resources.references import Ref
from troth.world.facts.objects import IdentitySecret, KnownAuthority


@dataclass(slots=True)
class Signatures:
    """Cache of verified signatures.

    A rotation looks at every leaf each time anything changes, so it must not verify each again.
    """

    _verified: dict[Ref, tuple[str, dict[str, bool]]] = field(default_factory=dict)
    """By Secret: the fingerprint of its leaf, and the results by fingerprint of the authority."""

    def signed(self, authority: Authority | None, secret: IdentitySecret | None) -> bool:
        """Return whether an authority signed the leaf in a Secret. Without either it did not."""
        leaf = secret.leaf if secret is not None else None
        if secret is None or leaf is None or authority is None:
            return False
        of, results = self._verified.get(secret.ref, ("", {}))
        if of != leaf.fingerprint:
            results = {}
            self._verified[secret.ref] = leaf.fingerprint, results
        if authority.fingerprint not in results:
            results[authority.fingerprint] = authority.signed(leaf)
        return results[authority.fingerprint]

    def signed_by(self, known: KnownAuthority | None, secret: IdentitySecret | None) -> bool:
        """Return whether a CA of a trust domain signed the leaf in a Secret."""
        slots = known.slots if known is not None else ()
        return any(self.signed(each, secret) for each in slots)

    def forget(self, ref: Ref) -> None:
        """Drop the results for a Secret that was deleted."""
        self._verified.pop(ref, None)
