"""The step that makes and replaces the credential of an identity at a broker."""

from dataclasses import dataclass
from enum import StrEnum

from troth.brokers.protocol import CredentialRequest
from troth.planning.steps.step import ManifestStep


class Turn(StrEnum):
    """What is done to the credentials in a Secret.

    ISSUE: a new credential replaces all. PREPARE: the next one is added. ACTIVATE: the next one
    becomes current, and the current one retiring. RETIRE: the retiring one is removed. REFRESH: the
    credentials stay, and the rest of the data is written again.
    """

    ISSUE = "Issue"
    PREPARE = "Prepare"
    ACTIVATE = "Activate"
    RETIRE = "Retire"
    REFRESH = "Refresh"


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
