"""Metadata that every resource has."""

from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from troth.resources.schema.model import Model, given
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import Name, NamespaceName
from troth.resources.schema.sharing import share_names

GROUP = "troth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


def _own(annotations: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in annotations.items() if name.startswith(f"{GROUP}/")}


class ObjectMeta(BaseModel):
    """The part of `metadata` that Troth reads. All other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    name: Name
    namespace: NamespaceName | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: Annotated[dict[str, str], AfterValidator(_own)] = Field(default_factory=dict)
    """Annotations of Troth's. Of the others, that of `kubectl apply` is a copy of the object."""
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @model_validator(mode="after")
    def _share(self) -> Self:
        share_names(self)
        return self


def is_terminating(resource: "Resource") -> bool:
    """Return whether a resource is being deleted and only a finalizer still holds it."""
    return resource.metadata.deletion_timestamp is not None


NAME_LIMIT = 63
NAME_RULE = Rule(
    cel=f"size(self.metadata.name) <= {NAME_LIMIT}",
    message=f"choose a name of at most {NAME_LIMIT} characters; Troth derives the names and "
    "labels of owned objects from it",
    holds=lambda resource: len(resource.metadata.name) <= NAME_LIMIT,
)


def _this_version(text: str) -> str:
    if text != API_VERSION:
        raise PydanticCustomError("rule", "write {version}", {"version": API_VERSION})
    return text


class Resource(Model):
    """A custom resource. Subclasses add `spec`, `status` and their `kind`."""

    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    api_version: Annotated[str, AfterValidator(_this_version)] = API_VERSION
    kind: str
    metadata: Annotated[ObjectMeta, BeforeValidator(given)]

    @classmethod
    def parse(cls, manifest: object) -> Self:
        """Return the resource that a manifest describes, or raise `pydantic.ValidationError`."""
        return cls.model_validate(manifest)
