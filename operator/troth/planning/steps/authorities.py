"""Steps that create and replace the CA of a trust domain."""

from dataclasses import dataclass
from datetime import timedelta

from troth.planning.steps.step import ManifestStep, SecretStep
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class CreateRoot(ManifestStep):
    """A root to make and to keep in a new Secret; never replaces one that is there."""

    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class AdoptAuthority(ManifestStep):
    """A given CA to begin with, to be copied from the Secret `source` into a new one.

    `authority` is the fingerprint of the certificate that must be there.
    """

    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class PrepareRoot(SecretStep):
    """The next root, to be put beside the active one in the same Secret."""

    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class CopyAuthority(SecretStep):
    """The given CA in the Secret `source`, to be put beside the active one as the next.

    `authority` is the fingerprint of the certificate that must be there.
    """

    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class ActivateRoot(SecretStep):
    """The next CA takes the active one's place: keys of the Secret that move, and that go."""

    moves: tuple[tuple[str, str], ...]
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DropSlots(SecretStep):
    """Keys of an authority's Secret that go: the CA before, or one that must not come. Of an
    issuer's likewise.
    """

    slots: tuple[str, ...]


RootStep = PrepareRoot | CopyAuthority | ActivateRoot | DropSlots
