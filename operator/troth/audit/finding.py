"""Findings: what a rule reports about an object, with the evidence."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from troth.resources.references import Ref
from troth.resources.reported import Severity


class Object(NamedTuple):
    """Kind, namespace and name of an object. The namespace of a cluster-scoped one is empty."""

    kind: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that a finding rests on: a field of an object, and what it shows.

    It never has the content of a Secret, nor a value of an environment variable.
    """

    object: Object
    field: str = ""
    """Path such as `spec.template.spec.containers[0].envFrom[0]`; empty for the whole object."""
    shows: str = ""
    """What the field shows, as a clause such as `mounts the Secret kafka-shared`."""

    @property
    def sentence(self) -> str:
        """Object, field and what it shows as one line; its text is not escaped."""
        place = f"{self.object} {self.field}".rstrip()
        return f"{place}: {self.shows}" if self.shows else place


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule reports about one object."""

    rule: str
    """ID of the rule."""
    subject: Object
    """Object whose owner can mend it."""
    message: str
    """What is wrong and what to do, as one sentence without counters and times, so that it stays
    the same as long as the finding does."""
    evidence: tuple[Evidence, ...] = ()
    about: str = ""
    """What distinguishes several findings of one rule about one object, such as a port name."""
    owner: str = field(default="", compare=False)
    """Team or person that the object's or its namespace's metadata names."""
    severity: Severity | None = None
    """Severity of this finding, None if it is the rule's."""

    @property
    def key(self) -> tuple[str, Object, str]:
        """What identifies the finding over time."""
        return self.rule, self.subject, self.about

    @property
    def id(self) -> str:
        """Short ID, the same as long as rule, subject and `about` are, such as
        `TR701-1f0c3a9b55e0d3c1`.
        """
        kind, ref = self.subject
        text = "/".join((self.rule, kind, *ref, self.about))
        return f"{self.rule}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Cause(StrEnum):
    """Kind of reason why a rule could not see something."""

    DENIED = "Denied"
    """The API server does not let it be read."""
    FAILED = "Failed"
    """Reading it, or the rule, failed."""
    UNREADABLE = "Unreadable"
    """This version of Troth cannot read a resource."""
    NOT_CONFIGURED = "NotConfigured"
    """Nobody asked for it, such as for the metadata of Secrets."""
    NOT_SHOWN = "NotShown"
    """The broker does not show it to anybody, or not to Troth."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a rule could not see, so that the absence of findings says nothing."""

    rule: str
    kinds: tuple[str, ...]
    """Kinds, or sources such as `broker shop/orders`, that it could not read."""
    reason: str
    """Why, as a clause."""
    cause: Cause = Cause.FAILED


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge patch of an existing object."""

    object: Object
    patch: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fix:
    """Way out of a finding."""

    manifests: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """Objects to apply."""
    patches: tuple[Patch, ...] = ()
    """Changes of existing objects."""
    steps: tuple[str, ...] = ()
    """What a person has to do or to decide besides, each a sentence."""
