"""Keyring: private keys of authorities, and identities' credentials at brokers.

The same events feed the keyring and the world, but the two are kept separate.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from troth.brokers.errors import BrokerError
from troth.brokers.protocol import Credential, Login
from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.certificates.authorities import SigningAuthority, load_signing_authority
from troth.pki.encodings.pem import MAX_CHAIN_BYTES
from troth.pki.keys.parsing import LONGEST as LONGEST_KEY
from troth.planning.steps.broker_credentials import ChangeCredential
from troth.reconcile.apply.secrets.credential_data import login, material, secrets_of
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.observation.broker_secrets import STATE, Which, is_credential, read_state
from troth.world.observation.secret_data import SecretData

MOST_FORMER = 4096
"""Maximum number of remembered credentials that no Secret has any more; the oldest are dropped."""

_OF_AUTHORITY = {LEAF: MAX_CHAIN_BYTES, KEY: LONGEST_KEY, ROOTS: MAX_CHAIN_BYTES}
"""Keys that are read from an authority's Secret, and the maximum size of each value in bytes."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The data of a credential's Secret, and its version."""

    uid: str
    resource_version: str
    data: Mapping[str, bytes] = field(repr=False)

    def holding(self, fingerprint: str) -> "Which | None":
        """Return which credential has a fingerprint, None if none does."""
        return next((which for each, which in self.held() if each == fingerprint), None)

    def held(self) -> Iterator[tuple[str, Which]]:
        """Yield each credential's fingerprint and which it is; nothing if unreadable."""
        try:
            state = read_state(self.data.get(STATE, b""))
        except ValueError:
            return
        for which, held in state.held.items():
            yield held.fingerprint, which


@dataclass(frozen=True, slots=True)
class _Former:
    """A credential that a Secret held earlier, as `login` reads it."""

    data: Mapping[str, bytes] = field(repr=False)
    which: Which


class Keyring:
    """Holds signing keys and credentials, which are never shown, logged, or in the world."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace
        self._secrets: dict[Ref, dict[str, bytes]] = {}
        self._signers: dict[tuple[Ref, str], SigningAuthority] = {}
        self._credentials: dict[Ref, _Kept] = {}
        self._former: OrderedDict[tuple[Ref, str], _Former] = OrderedDict()

    def observe(self, manifest: Manifest) -> None:
        """Take in a Secret of a credential, or of an authority in Troth's own namespace."""
        ref, metadata = Ref.of(manifest), manifest["metadata"]
        self.forget(ref)
        if is_credential(manifest):
            self._credentials[ref] = _Kept(
                metadata.get("uid", ""),
                metadata.get("resourceVersion", ""),
                _credential_data(SecretData(manifest)),
            )
        elif ref.namespace == self._own_namespace:
            data = SecretData(manifest)
            read = {name: data.get(name, most) for name, most in _OF_AUTHORITY.items()}
            self._secrets[ref] = {name: value for name, value in read.items() if value is not None}

    def forget(self, ref: Ref) -> None:
        """Take in that a Secret no longer exists.

        Its client logins stay known until they are revoked, to test the revocation.
        """
        self._let_go(ref)
        self._secrets.pop(ref, None)
        for key in [key for key in self._signers if key[0] == ref]:
            del self._signers[key]

    def drop(self, ref: Ref) -> None:
        """Forget a Secret that cannot be read, including data that is read partially."""
        self._credentials.pop(ref, None)
        self._secrets.pop(ref, None)
        for key in [key for key in self._signers if key[0] == ref]:
            del self._signers[key]

    def signer(self, ref: Ref, trust_domain: str) -> SigningAuthority | None:
        """Return the authority in a Secret with its key, None if there is no such Secret.

        Raises `PKIError` if it cannot sign.
        """
        if (ref, trust_domain) not in self._signers:
            secret = self._secrets.get(ref)
            if secret is None:
                return None
            self._signers[ref, trust_domain] = load_signing_authority(
                secret.get(LEAF, b""), secret.get(KEY), secret.get(ROOTS), trust_domain
            )
        return self._signers[ref, trust_domain]

    def credential_data(self, step: ChangeCredential) -> Mapping[str, bytes] | None:
        """Return all data of a credential's Secret before a change, {} if there is no Secret.

        Returns None if the Secret has changed since planning.
        """
        kept = self._credentials.get(Ref.of(step.manifest))
        found = (kept.uid, kept.resource_version) if kept is not None else ("", "")
        if found != (step.uid, step.resource_version):
            return None
        return kept.data if kept is not None else {}

    def credential(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Credential | None:
        """Return a credential as the broker needs it, None if the Secret does not have it.

        The caller must compare the principal and slot, because the Secret only claims them.
        """
        kept = self._credentials.get(secret)
        which = kept.holding(fingerprint) if kept is not None else None
        if kept is None or which is None:
            return None
        try:
            return material(type_, kept.data, which)
        except (ValueError, BrokerError):
            return None

    def login(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Login | None:
        """Return a credential in the form that a client uses, None if it is unknown.

        Credentials that the Secret held earlier are included until `drop_credential`.
        """
        kept, former = self._credentials.get(secret), self._former.get((secret, fingerprint))
        which = kept.holding(fingerprint) if kept is not None else None
        found = _login(type_, kept.data, which) if kept is not None and which is not None else None
        if found is None and former is not None:
            return _login(type_, former.data, former.which)
        return found

    def drop_credential(self, secret: Ref, fingerprint: str) -> None:
        """Forget the client login of a revoked credential."""
        self._former.pop((secret, fingerprint), None)

    def _let_go(self, ref: Ref) -> None:
        """Move the client logins of a Secret to the former ones."""
        kept = self._credentials.pop(ref, None)
        secrets = secrets_of(kept.data) if kept is not None else {}
        for fingerprint, which in kept.held() if kept is not None else ():
            self._former.pop((ref, fingerprint), None)
            self._former[ref, fingerprint] = _Former(secrets, which)
        while len(self._former) > MOST_FORMER:
            self._former.popitem(last=False)


def _credential_data(data: SecretData) -> dict[str, bytes]:
    """Return a credential's data.

    If the Secret has too many entries, only their names are kept: the Secret is replaced, and the
    entries that Troth did not write are removed.
    """
    return dict.fromkeys(data, b"") if data.has_too_many else dict(data.items())


def _login(type_: BrokerType, data: Mapping[str, bytes], which: Which) -> Login | None:
    try:
        return login(type_, data, which)
    except (ValueError, BrokerError):
        return None
