"""Steps that create and replace token signing keys, and update the issuers' public data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from troth.planning.steps.authorities import DropSlots
from troth.planning.steps.step import ManifestStep, SecretStep
from troth.world.observation.signing_keys import ISSUERS, Slots


@dataclass(frozen=True, slots=True)
class CreateTokenKey(ManifestStep):
    """Create a token signing key in a new Secret, unless a Secret of that name exists."""

    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class PrepareTokenKey(SecretStep):
    """Create the next token signing key beside the active one, in the same Secret."""

    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class ActivateTokenKey(SecretStep):
    """Make the next token signing key active.

    `retiring` is the public half of the active key to keep, as a JWK, None to drop it.
    """

    retiring: Mapping[str, str] | None
    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class UpdateIssuer(SecretStep):
    """Write an issuer's public data, such as its view and its bundle; its keys stay."""

    data: Mapping[str, bytes] = field(repr=False)


TokenKeyStep = PrepareTokenKey | ActivateTokenKey | DropSlots
