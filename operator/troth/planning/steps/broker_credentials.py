"""Step that issues and rotates the credential of an identity at a broker."""

from dataclasses import dataclass
from enum import StrEnum

from troth.brokers.protocol import CredentialRequest
from troth.planning.steps.step import ManifestStep


class CredentialChange(StrEnum):
    """Change to the credentials in a Secret.

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
class ChangeCredential(ManifestStep):
    """Change the credentials in the Secret that `manifest` describes.

    `uid` and `resource_version` are of the observed Secret, empty if there was none. The step does
    not replace a Secret that was created or changed since.
    """

    uid: str
    resource_version: str
    change: CredentialChange
    request: CredentialRequest
