"""Steps that write the Secret of a key and certificate."""

from dataclasses import dataclass

from troth.pki.issuing import LeafProfile
from troth.planning.steps.step import ManifestStep
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class IssueLeaf(ManifestStep):
    """A key and certificate to make and to keep in a Secret, whose public part `manifest` has.

    `uid` and `resource_version` are of the Secret as it was seen, empty where there was none: what
    was issued since is not replaced.
    `authority` is the fingerprint of the certificate that must sign, kept in `authority_secret`;
    `reason` and `message` say which check asked for it; `anchors` (PEM) are the roots for the
    truststore.
    """

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
class UpdatePublic(ManifestStep):
    """The public part of a Secret that must be this; its key and certificate stay.

    `over` is as in `Apply`; `drops` names what of the public part goes.
    """

    uid: str
    over: str = ""
    drops: tuple[str, ...] = ()
