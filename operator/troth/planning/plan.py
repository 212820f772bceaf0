"""A plan is data. The reconciler, `troth plan` and the tests all read the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from troth.brokers.protocol import CredentialRequest
from troth.pki.issuing import LeafProfile
from troth.planning.webhooks.steps import CompileEndpoint, TurnWebhookKeys
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.trust.grants import Place, Rule, Slot
from troth.trust.narrowing import Narrowing
from troth.world.facts.broker import AdminShown, Ledger
from troth.world.facts.objects import Manifest
from troth.world.keys import Key
from troth.world.observation.signing_keys import ISSUERS, Slots


@dataclass(frozen=True, slots=True)
class Apply:
    """An object that must exist with exactly this content.

    Content that keeps a part of what stood there is written only `over` that resource version, for
    else it could bring back what was taken away since; empty for any.
    """

    manifest: Manifest
    over: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """An object of Troth's that must not exist; `uid` says which one was meant."""

    kind: str
    ref: Ref
    uid: str


@dataclass(frozen=True, slots=True)
class CreateRoot:
    """A root to make and to keep in a new Secret; never replaces one that is there."""

    manifest: Manifest
    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class AdoptAuthority:
    """A given CA to begin with, to be copied from the Secret `source` into a new one.

    `authority` is the fingerprint of the certificate that must be there.
    """

    manifest: Manifest
    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class PrepareRoot:
    """The next root, to be put beside the active one in the same Secret."""

    ref: Ref
    uid: str
    resource_version: str
    trust_domain: str
    algorithm: KeyAlgorithm
    lifetime: timedelta
    confined: bool


@dataclass(frozen=True, slots=True)
class CopyAuthority:
    """The given CA in the Secret `source`, to be put beside the active one as the next.

    `authority` is the fingerprint of the certificate that must be there.
    """

    ref: Ref
    uid: str
    resource_version: str
    trust_domain: str
    source: Ref
    authority: str


@dataclass(frozen=True, slots=True)
class ActivateRoot:
    """The next CA takes the active one's place: keys of the Secret that move, and that go."""

    ref: Ref
    uid: str
    resource_version: str
    moves: tuple[tuple[str, str], ...]
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DropSlots:
    """Keys of an authority's Secret that go: the CA before, or one that must not come. Of an
    issuer's likewise.
    """

    ref: Ref
    uid: str
    resource_version: str
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateTokenKey:
    """A key that signs tokens, to make and to keep in a new Secret; never replaces one there."""

    manifest: Manifest
    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class PrepareTokenKey:
    """The next key that signs tokens, to be put beside the active one in the same Secret."""

    ref: Ref
    uid: str
    resource_version: str
    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class ActivateTokenKey:
    """The next key takes the active one's place.

    `retiring` is the public half of the active one as a JWK, None where it is not to be kept.
    """

    ref: Ref
    uid: str
    resource_version: str
    retiring: Mapping[str, str] | None
    slots: Slots = ISSUERS


@dataclass(frozen=True, slots=True)
class UpdateIssuer:
    """What an issuer works from beside its keys, all of it public, that must be this."""

    ref: Ref
    uid: str
    resource_version: str
    data: Mapping[str, bytes] = field(repr=False)


RootStep = PrepareRoot | CopyAuthority | ActivateRoot | DropSlots
TokenKeyStep = PrepareTokenKey | ActivateTokenKey | DropSlots


@dataclass(frozen=True, slots=True)
class IssueLeaf:
    """A key and certificate to make and to keep in a Secret, whose public part `manifest` has.

    `uid` and `resource_version` are of the Secret as it was seen, empty where there was none: what
    was issued since is not replaced.
    `authority` is the fingerprint of the certificate that must sign, kept in `authority_secret`;
    `reason` and `message` say which check asked for it; `anchors` (PEM) are the roots for the
    truststore.
    """

    manifest: Manifest
    uid: str
    resource_version: str
    trust_domain: str
    authority_secret: Ref
    profile: LeafProfile
    algorithm: KeyAlgorithm
    authority: str
    anchors: tuple[bytes, ...]
    keystore: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class UpdatePublic:
    """The public part of a Secret that must be this; its key and certificate stay.

    `over` is as in `Apply`; `drops` names what of the public part goes.
    """

    manifest: Manifest
    uid: str
    over: str = ""
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """A workload whose pods are to be replaced, if it still is the one that was seen.

    `evidence` says what its Secret holds now, and is kept in its pod template.
    """

    kind: str
    ref: Ref
    uid: str
    resource_version: str
    evidence: str
    message: str


class Turn(StrEnum):
    """What is done to the credentials in a Secret.

    ISSUE: it has a new one, and no other. PREPARE: the next one is beside the one in use. ACTIVATE:
    the next one is in use, and the one before beside it. RETIRE: the one before is gone. REFRESH:
    the credentials stay, and what is said beside them is written anew.
    """

    ISSUE = "Issue"
    PREPARE = "Prepare"
    ACTIVATE = "Activate"
    RETIRE = "Retire"
    REFRESH = "Refresh"


@dataclass(frozen=True, slots=True)
class TurnCredential:
    """The next turn of the credential in the Secret that `manifest` describes.

    `uid` and `resource_version` are of the Secret as it was seen, empty where there is none: what
    was made since is not replaced.
    """

    manifest: Manifest = field(repr=False)
    uid: str
    resource_version: str
    turn: Turn
    request: CredentialRequest


@dataclass(frozen=True, slots=True)
class SetFinalizers:
    """The finalizers that a resource is to have, if it still is as it was seen."""

    kind: str
    ref: Ref
    uid: str
    resource_version: str
    finalizers: tuple[str, ...]
    warning: str = ""
    """What a person should hear of, because it could not be undone; empty for nothing."""


@dataclass(frozen=True, slots=True)
class ObserveBroker:
    """A broker to be looked at, in the background."""

    broker: Ref


@dataclass(frozen=True, slots=True)
class Telling:
    """A credential that a broker is to be told: whose, where, and the Secret that has it."""

    principal: str
    slot: Slot
    fingerprint: str
    secret: Ref


@dataclass(frozen=True, slots=True)
class ChangeBroker:
    """What is to be done at a broker, in the background.

    The ledger says `before` ere anything is done, and `after` once all of it is.
    """

    broker: Ref
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
class TurnAdmin:
    """The next turn of the credential that administers a broker, in the background.

    Nothing is done where the admin Secret has another one by now than was `shown`.
    """

    broker: Ref
    turn: AdminTurn
    shown: AdminShown


BackgroundStep = ObserveBroker | ChangeBroker | TurnAdmin

WriteStep = (
    Apply
    | Remove
    | CreateRoot
    | AdoptAuthority
    | RootStep
    | CreateTokenKey
    | TokenKeyStep
    | UpdateIssuer
    | IssueLeaf
    | UpdatePublic
    | Restart
    | TurnCredential
    | TurnWebhookKeys
    | CompileEndpoint
    | SetFinalizers
)
Step = WriteStep | BackgroundStep


@dataclass(frozen=True, slots=True)
class Plan:
    """What one resource asks of the world.

    `status` is what the resource's status should be, None where the resource is gone; `due` is
    when to look again though nothing changes. `passing`: what the status says why it is not ready
    is likely to be over in a moment, by what is under way already. `unapplied` is what the
    `identity.json` of an identity grants too much and cannot be made to grant less, None where that
    was not looked at; `errors` are exceptions of Troth's own, whose parts are missing here.
    """

    key: Key
    uid: str
    steps: tuple[Step, ...] = ()
    status: Mapping[str, Any] | None = None
    previous_status: Mapping[str, Any] | None = None
    due: datetime | None = None
    passing: bool = False
    unapplied: Narrowing | None = None
    errors: tuple[Exception, ...] = ()
