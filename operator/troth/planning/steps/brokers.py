"""Steps at brokers, which run in the background."""

from dataclasses import dataclass
from enum import StrEnum

from troth.planning.steps.step import BackgroundStep
from troth.resources.references import Ref
from troth.trust.grants import Place, Rule, Slot
from troth.world.facts.broker import AdminInUse, Ledger


@dataclass(frozen=True, slots=True)
class ObserveBroker(BackgroundStep):
    """Observe a broker."""


@dataclass(frozen=True, slots=True)
class CredentialUpload:
    """Credential to create at a broker: its principal, its slot, and the Secret that holds it."""

    principal: str
    slot: Slot
    fingerprint: str
    secret: Ref


@dataclass(frozen=True, slots=True)
class ChangeBroker(BackgroundStep):
    """Change credentials and rules at a broker.

    The step writes the ledger `before` ahead of any change, and `after` when all are done.
    `uploads` are the credentials to create.
    """

    before: Ledger
    after: Ledger
    uploads: tuple[CredentialUpload, ...] = ()
    additions: tuple[Rule, ...] = ()
    removals: tuple[Rule, ...] = ()
    revocations: tuple[Place, ...] = ()
    repaired: bool = False
    """Whether the step restores something that was in place before."""
    without_ledger: bool = False
    """Whether the ledger was lost, so that the step removes nothing."""


class AdminChange(StrEnum):
    """Change to the admin credential of a broker.

    REPLACE: a new credential is created at the broker, tried, and written into the admin Secret.
    RETIRE: the previous one is revoked. WITHDRAW: the one that Troth created is revoked, because
    the admin Secret holds another.
    """

    REPLACE = "Replace"
    RETIRE = "Retire"
    WITHDRAW = "Withdraw"


@dataclass(frozen=True, slots=True)
class ChangeAdminCredential(BackgroundStep):
    """Change the admin credential of a broker.

    The step does nothing if the admin Secret no longer holds the credential `shown`.
    """

    change: AdminChange
    shown: AdminInUse
