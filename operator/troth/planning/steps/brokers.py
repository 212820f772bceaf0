"""Steps at brokers, in the background."""

from dataclasses import dataclass
from enum import StrEnum

from troth.planning.steps.step import BackgroundStep
from troth.resources.references import Ref
from troth.trust.grants import Place, Rule, Slot
from troth.world.facts.broker import AdminShown, Ledger


@dataclass(frozen=True, slots=True)
class ObserveBroker(BackgroundStep):
    """A broker to be looked at, in the background."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A credential that a broker is to be told: whose, where, and the Secret that has it."""

    principal: str
    slot: Slot
    fingerprint: str
    secret: Ref


@dataclass(frozen=True, slots=True)
class ChangeBroker(BackgroundStep):
    """What is to be done at a broker, in the background.

    The ledger says `before` ere anything is done, and `after` once all of it is.
    """

    before: Ledger
    after: Ledger
    telling: tuple[Telling, ...] = ()
    additions: tuple[Rule, ...] = ()
    removals: tuple[Rule, ...] = ()
    revocations: tuple[Place, ...] = ()
    repaired: bool = False
    """Whether something is put right that was in place before."""
    without_ledger: bool = False
    """Whether there is no ledger though there was one, so that nothing is removed."""


class AdminTurn(StrEnum):
    """What is done to the credential that administers a broker.

    REPLACE: another one is told to the broker, tried, and written into the admin Secret. RETIRE:
    the one before is revoked. WITHDRAW: the one that Troth made is revoked, for the Secret has
    another.
    """

    REPLACE = "Replace"
    RETIRE = "Retire"
    WITHDRAW = "Withdraw"


@dataclass(frozen=True, slots=True)
class TurnAdmin(BackgroundStep):
    """The next turn of the credential that administers a broker, in the background.

    Nothing is done where the admin Secret has another one by now than was `shown`.
    """

    turn: AdminTurn
    shown: AdminShown
