"""The step that makes and replaces the credential of an identity at a broker."""

from dataclasses import dataclass
from enum import StrEnum

from troth.planning.steps.step import ManifestStep
from troth.resources.messaging.message_broker import BrokerType
from troth.resources.references import Ref


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
class CredentialRequest:
    """Whose credential it is, at which broker, and what its clients must know of the broker.

    `authorities` are the PEM roots of the servers' certificates, empty for the system's; `account`
    is the public key of the account at NATS.
    """

    broker: Ref
    type: BrokerType
    principal: str
    servers: tuple[str, ...]
    authorities: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class TurnCredential(ManifestStep):
    """The next turn of the credential in the Secret that `manifest` describes.

    `uid` and `resource_version` are of the Secret as it was seen, empty where there is none: what
    was made since is not replaced.
    """

    uid: str
    resource_version: str
    turn: Turn
    request: CredentialRequest
