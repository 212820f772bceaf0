"""Key with which the gateway signs its tokens, from the operator's Secret."""

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from troth.documents.webhook_endpoint import EndpointError
from troth.pki.errors import PKIError
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.webhook import Signer

ACTIVE = "key.pem"


class SigningKey:
    """Active signing key. Its Secret may have the next one too, which targets learn in advance."""

    def __init__(self) -> None:
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._signer: tuple[str, Signer] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    @property
    def kid(self) -> str:
        """ID of the key, empty if there is none."""
        return Signer(self._key, "").kid if self._key is not None else ""

    def take(self, data: Mapping[str, bytes]) -> None:
        """Use the key in a Secret's data; raises `EndpointError`, and then keeps the last key."""
        try:
            key = load_private_key(data[ACTIVE])
        except KeyError:
            raise EndpointError(f"{ACTIVE} is missing") from None
        except PKIError as error:
            raise EndpointError(f"{ACTIVE} is not a key: {error.reason}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise EndpointError(f"{ACTIVE} is a key that does not sign with ES256")
        self._key, self._signer = key, None

    def drop(self) -> None:
        """Remove the key."""
        self._key = self._signer = None

    def signer(self, gateway_id: Callable[[], str]) -> Signer | None:
        """Return the signer for this gateway; the same object until the key or the ID changes."""
        if self._key is None:
            return None
        name = gateway_id()
        if self._signer is None or self._signer[0] != name:
            self._signer = name, Signer(self._key, name)
        return self._signer[1]
