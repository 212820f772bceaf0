"""The key that seals, with the certificates that vouch for it."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding

from troth.edge.events.attributes import LONGEST_CHAIN, SEAL, fault_of, longest
from troth.edge.events.message import Sealed
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.seal import envelope
from troth.edge.events.seal.producers import MOST_CERTIFICATES
from troth.edge.events.seal.signatures import Sign, signer
from troth.edge.identity.snapshot import IdentityError, Snapshot
from troth.pki.certificates.paths import is_self_signed
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.private import load_private_key, same_key
from troth.pki.tokens.signing import certificate_thumbprint

_ATTEMPTS = 3
# Neither the form of these values nor a limit of Kubernetes bounds their length.
_LONG = ("trothtopic", "dataschema", "trothtxntoken", "trothorigin")


@dataclass(frozen=True, slots=True)
class Signer:
    """The leaf's key, with the chain that vouches for it."""

    generation: int
    sign: Sign = field(repr=False)
    key_id: str
    chain: str = field(repr=False)
    not_after: float


class CurrentSigner:
    """The signer of the identity's current files. It may be shared by threads."""

    def __init__(self) -> None:
        self._signer: Signer | None = None

    def seal(
        self,
        snapshot: Snapshot,
        attributes: dict[str, str],
        data: bytes,
        signed: Sequence[str],
        now: int,
    ) -> Sealed:
        """Return an event with its seal. Adds `trothchain` and the seal to the attributes.

        `signed` are the names of the signed extension attributes, and `now` is in seconds since the
        epoch. Raises `RejectedError` if the certificate has expired, or an attribute is
        malformed or too long, and `IdentityError` if there is no certificate to sign with.
        """
        own = self.signer(snapshot)
        if now >= own.not_after:
            raise RejectedError(
                Reason.CERTIFICATE_INVALID, "the certificate of this identity has expired"
            )
        attributes["trothchain"] = own.chain
        fault = fault_of(attributes)
        if fault is not None:
            raise RejectedError(Reason.MALFORMED, fault)
        for name in _LONG:
            if len(attributes.get(name, "")) > longest(name):
                raise RejectedError(
                    Reason.TOO_LARGE,
                    f"the attribute {name} is longer than {longest(name)} characters, which every "
                    "consumer rejects",
                )
        payload = envelope.material(attributes, data, signed)
        signature = own.sign(envelope.signed_bytes(payload))
        attributes[SEAL] = envelope.write(payload, signature, own.key_id)
        return Sealed(attributes["trothtopic"], attributes, data)

    def signer(self, snapshot: Snapshot) -> Signer:
        """Return the signer of a snapshot; raises `IdentityError` without a certificate."""
        own = self._signer
        if own is None or own.generation != snapshot.generation:
            own = _read_signer(snapshot)
            self._signer = own
        return own


def _read_signer(snapshot: Snapshot) -> Signer:
    """Read the key and the certificates, which may be newer than the snapshot."""
    for _ in range(_ATTEMPTS):
        try:
            leaf, *others = read_certificates(snapshot.tls_crt.read_bytes(), "tls.crt")
            key = load_private_key(snapshot.tls_key.read_bytes())
        except (OSError, PKIError) as error:
            raise IdentityError(f"there is no certificate to sign events with: {error}") from error
        if same_key(leaf, key):
            break
    else:
        raise IdentityError("tls.key is not the key of tls.crt; events cannot be signed")
    chain = [leaf, *(each for each in others if not is_self_signed(each))]
    ders = [each.public_bytes(Encoding.DER) for each in chain]
    text = ".".join(b64encode(each).decode() for each in ders)
    if len(chain) > MOST_CERTIFICATES or len(text) > LONGEST_CHAIN:
        raise IdentityError("the certificates in tls.crt are too large for an event")
    return Signer(
        snapshot.generation,
        signer(key),
        certificate_thumbprint(ders[0]),
        text,
        leaf.not_valid_after_utc.timestamp(),
    )
