"""Steps that create and replace keys that sign tokens, and what issuers work from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from troth.planning.steps.authorities import DropSlots
from troth.planning.steps.step import ManifestStep, SecretStep
from troth.world.observation.signing_keys import ISSUERS, Slots


@dataclass(frozen=True, slots=True)
class CreateTokenKey(ManifestStep):
    """A key that signs tokens, to make and to keep in a new Secret; never replaces one there."""

    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class PrepareTokenKey(SecretStep):
    """The next key that signs tokens, to be put beside the active one in the same Secret."""

    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class ActivateTokenKey(SecretStep):
    """The next key takes the active one's place.

    `retiring` is the public half of the active one as a JWK, None where it is not to be kept.
    """

    retiring: Mapping[str, str] | None
    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class UpdateIssuer(SecretStep):
    """What an issuer works from beside its keys, all of it public, that must be this."""

    data: Mapping[str, bytes] = field(repr=False)


TokenKeyStep = PrepareTokenKey | ActivateTokenKey | DropSlots
