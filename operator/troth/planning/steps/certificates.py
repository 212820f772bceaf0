"""Steps that write Secrets with a key and certificate."""

from dataclasses import dataclass

from troth.pki.certificates.issuing import LeafProfile
from troth.planning.steps.step import ManifestStep
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref


@dataclass(frozen=True, slots=True)
class IssueLeaf(ManifestStep):
    """Issue a key and certificate into a Secret; `manifest` describes its public part.

    `uid` and `resource_version` are of the observed Secret, empty if there was none. The step does
    not replace a Secret that was issued or changed since.

    `authority` is the fingerprint of the signing certificate, which `authority_secret` holds.
    `reason` and `message` name the check that failed. `anchors` (PEM) are the roots for the
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
    """Write the public part of a Secret; its key and certificate stay.

    `over` is as in `Apply`. `drops` are the keys of the public part to remove. `truststore` are the
    roots (PEM) for the truststore, which changes with them; empty if it stays. With it, `over` is
    the version of a Secret whose keystores are intact.
    """

    uid: str
    over: str = ""
    drops: tuple[str, ...] = ()
    truststore: tuple[bytes, ...] = ()
