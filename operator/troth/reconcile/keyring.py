"""What is secret: the keys of authorities, and identities' credentials at brokers.

Fed by the same events as the world, and kept apart from it.
"""

from troth.brokers.credentials import login, material
from troth.brokers.protocol import BrokerError, Credential, Login
from troth.pki.authorities import SigningAuthority, load_signing_authority
from troth.resources.references import Ref
from troth.world.broker_secrets import STATE, is_credential, read_state
from troth.world.facts import Manifest
from troth.world.observe import KEY, LEAF, ROOTS, decoded


class Keyring:
    """Holds what signs. Never shown, never logged, never in the world."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace
        self._secrets: dict[Ref, dict[str, bytes]] = {}
        self._signers: dict[tuple[Ref, str], SigningAuthority] = {}
        self._credentials: dict[Ref, dict[str, bytes]] = {}
        self._logins: dict[tuple[Ref, str], Login] = {}

    def observe(self, manifest: Manifest) -> None:
        """Take in a Secret; only those of Troth's own namespace are kept, and credentials."""
        ref = Ref.of(manifest)
        self._credentials.pop(ref, None)
        if is_credential(manifest):
            self._observe_credential(ref, decoded(manifest))
        if ref.namespace == self._own_namespace:
            self.forget(ref)
            data = decoded(manifest)
            self._secrets[ref] = {name: data[name] for name in (LEAF, KEY, ROOTS) if name in data}

    def forget(self, ref: Ref) -> None:
        """Take in that a Secret is gone; what clients log in with is known until it is revoked."""
        self._credentials.pop(ref, None)
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

    def credential_data(self, ref: Ref) -> dict[str, bytes]:
        """Return all that a credential's Secret has, nothing where there is none."""
        return self._credentials.get(ref, {})

    def credential(self, secret: Ref, fingerprint: str) -> Credential | None:
        """Return what a broker is told of a credential, None where the Secret does not have it."""
        data = self._credentials.get(secret, {})
        try:
            for which, held in read_state(data.get(STATE, b"")).held.items():
                if held.fingerprint == fingerprint:
                    return material(data, which)
        except (ValueError, BrokerError):
            return None
        return None

    def login(self, secret: Ref, fingerprint: str) -> Login | None:
        """Return a credential as a client has it, None where it was never seen."""
        return self._logins.get((secret, fingerprint))

    def drop_credential(self, secret: Ref, fingerprint: str) -> None:
        """Forget how a client logs in with a credential that is revoked."""
        self._logins.pop((secret, fingerprint), None)

    def _observe_credential(self, ref: Ref, data: dict[str, bytes]) -> None:
        self._credentials[ref] = data
        try:
            for which, held in read_state(data.get(STATE, b"")).held.items():
                self._logins[ref, held.fingerprint] = login(data, which)
        except (ValueError, BrokerError):
            return
