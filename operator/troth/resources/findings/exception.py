"""Spec of `FindingException`: findings that somebody accepts until a date."""

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from troth.resources.metadata import Resource
from troth.resources.references import Ref
from troth.resources.schema.lists import BY_KIND_AND_NAME, SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import Moment, Owner, Sentence, matching

FINDING_EXCEPTION = "FindingException"
"""The kind."""

EXCEPTION_LIMIT = timedelta(days=365)
"""Maximum time until the end of an exception."""

ABOUT_EXCEPTIONS = "TR506"
"""ID of the rule that finds exceptions without effect. Nobody can except its findings."""

RuleID = Annotated[
    str,
    StringConstraints(max_length=16),
    matching("^TR[0-9]{3}$", "write the ID of a rule, such as TR701; see troth audit --list-rules"),
    Rule(
        cel=f"self != '{ABOUT_EXCEPTIONS}'",
        message="remove it; nobody can except the finding that an exception has no effect",
        holds=lambda text: text != ABOUT_EXCEPTIONS,
    ),
]


class ExceptedObject(Model):
    """Object whose findings are excepted."""

    kind: Annotated[
        str,
        StringConstraints(max_length=63),
        matching("^[A-Z][A-Za-z0-9]*$", "write a kind in CamelCase, such as Deployment"),
    ]
    """Kind of the object, such as Deployment."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the object."""


class FindingExceptionSpec(Model):
    """Findings that are excepted, who answers for that, and until when."""

    rules_: Annotated[tuple[RuleID, ...], Field(min_length=1, max_length=32), SET]
    """IDs of the rules whose findings are excepted."""
    objects: (
        Annotated[tuple[ExceptedObject, ...], Field(min_length=1, max_length=64), BY_KIND_AND_NAME]
        | None
    ) = None
    """Objects whose findings are excepted. Defaults to all objects of this namespace. In Troth's
    own namespace, they may also be cluster-scoped."""
    owner: Owner
    """Person or team that answers for the exception."""
    reason: Sentence
    """Reason to accept the findings."""
    expires_at: Moment
    """Time at which the exception ends, at most 365 days ahead. From then on, the findings are
    reported again, and the exception itself is a finding."""


class FindingException(Resource):
    """Exception from rules of `troth audit`, for objects of one namespace and until a date."""

    # Troth derives no names from its name, so the limit of other kinds does not apply
    rules: ClassVar[tuple[Rule, ...]] = ()

    kind: Literal["FindingException"] = "FindingException"
    spec: FindingExceptionSpec

    @property
    def ref(self) -> Ref:
        """Namespace and name of the exception."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    def fault(self, now: datetime) -> str | None:
        """Return the reason why the exception has no effect, None if it has."""
        if self.spec.expires_at <= now:
            return "ExceptionExpired"
        return "ExceptionTooLong" if now < self.spec.expires_at - EXCEPTION_LIMIT else None

    def covers(self, kind: str, ref: Ref, own_namespace: str) -> bool:
        """Return whether it excepts findings about an object.

        Only one in Troth's own namespace covers a cluster-scoped object, and only by its name.
        """
        here = self.ref.namespace
        if ref.namespace != here and (ref.namespace or here != own_namespace):
            return False
        if self.spec.objects is None:
            return bool(ref.namespace)
        return any((each.kind, each.name) == (kind, ref.name) for each in self.spec.objects)
