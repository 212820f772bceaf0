"""Steps that create and replace the CA of a trust domain."""

from dataclasses import dataclass, field
from datetime import timedelta

from troth.planning.steps.step import ManifestStep, SecretStep
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class CreateRoot(ManifestStep):
    """Create a root in a new Secret, unless a Secret of that name exists."""

    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class AdoptAuthority(ManifestStep):
    """Copy a given CA from the Secret `source` into a new Secret, as the first authority.

    `authority` is the fingerprint of the certificate that `source` must hold.
    """

    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class AddPlain(SecretStep):
    """Add the plain certificate of the active root, which an older version did not create.

    `authority` is the fingerprint of the confined one.
    """

    trust_domain: str
    authority: str


@dataclass(frozen=True, slots=True)
class PrepareRoot(SecretStep):
    """Create the next root beside the active one, in the same Secret."""

    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class CopyAuthority(SecretStep):
    """Copy the given CA from the Secret `source` beside the active one, as the next CA.

    `authority` is the fingerprint of the certificate that `source` must hold.
    """

    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class ActivateRoot(SecretStep):
    """Make the next CA active.

    `moves` are keys of the Secret's data to rename, as (from, to). `drops` are keys to remove.
    """

    moves: tuple[tuple[str, str], ...]
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DropSlots(SecretStep):
    """Remove keys of the Secret's data of an authority or an issuer.

    They hold the retiring CA or token key, or a next one that must not become active.
    """

    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdateRetired(SecretStep):
    """Write the records of retired roots or token keys of an authority or an issuer.

    `slots` are keys of the Secret's data to remove in the same write, such as those of a retiring
    CA. `records` is the new content, empty to keep no records.
    """

    slots: tuple[str, ...]
    records: bytes = field(repr=False)


RootStep = AddPlain | PrepareRoot | CopyAuthority | ActivateRoot | DropSlots | UpdateRetired
