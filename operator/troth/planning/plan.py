"""A plan is data. The reconciler, `troth plan` and the tests all read the same one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from troth.pki.issuing import LeafProfile
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.world.facts import Manifest
from troth.world.keys import Key


@dataclass(frozen=True, slots=True)
class Apply:
    """An object that must exist with exactly this content."""

    manifest: Manifest


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
class ActivateRoot:
    """The next root becomes the active one, and the active one the retiring one, at once."""

    ref: Ref
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class RetireRoot:
    """The retiring root is dropped."""

    ref: Ref
    uid: str
    resource_version: str


RootStep = PrepareRoot | ActivateRoot | RetireRoot


@dataclass(frozen=True, slots=True)
class IssueLeaf:
    """A key and certificate to make and to keep in a Secret, whose public part `manifest` has.

    `authority` is the fingerprint of the certificate that must sign, kept in `authority_secret`;
    `reason` and `message` say which check asked for it; `anchors` (PEM) are the roots for the
    truststore.
    """

    manifest: Manifest
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
    """The public part of a Secret that must be this; its key and certificate stay."""

    manifest: Manifest
    uid: str


Step = Apply | Remove | CreateRoot | RootStep | IssueLeaf | UpdatePublic


@dataclass(frozen=True, slots=True)
class Plan:
    """What one resource asks of the world.

    `status` is what the resource's status should be, None where the resource is gone; `due` is
    when to look again though nothing changes.
    """

    key: Key
    uid: str
    steps: tuple[Step, ...] = ()
    status: Mapping[str, Any] | None = None
    previous_status: Mapping[str, Any] | None = None
    due: datetime | None = None
