"""Base class of the specs that users write and of the statuses that Troth writes."""

from functools import cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from troth.resources.schema.docstrings import attribute_docstrings
from troth.resources.schema.rules import VALIDATIONS, Immutable, Rule
from troth.resources.schema.sharing import share_names

# names with acronyms, as Kubernetes spells them, and names that are reserved in Python or here
_SPELLED = {
    "from_": "from",
    "kubernetes_api": "kubernetesAPI",
    "public_url": "publicURL",
    "rules_": "rules",
    "schema_": "schema",
    "spiffe_id": "spiffeID",
    "topic_arns": "topicARNs",
}


def spelled(field: str) -> str:
    """Return a field's name in a manifest."""
    return _SPELLED.get(field) or to_camel(field)


def given(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return an object without its null fields, which the API server treats as absent."""
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if part is not None}
    return value


class Model(BaseModel):
    """Frozen value with camelCase names, and rules over several of its fields.

    An unknown field is rejected: it may be a restriction that this version cannot enforce.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=spelled,
        populate_by_name=True,
        defer_build=True,  # a program uses some of the models, and builds those
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _take_null_for_absent(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        if not isinstance(value, dict) or None not in value.values():
            return value
        known = _names(cls)
        return {name: part for name, part in value.items() if part is not None or name not in known}

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in type(self).rules:
            rule.check(self)
        share_names(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(core_schema)
        target = handler.resolve_ref_schema(described)
        for name, text in _docstrings(cls).items():
            target["properties"][spelled(name)].setdefault("description", text)
        if cls.rules:
            target[VALIDATIONS] = [rule.as_validation() for rule in cls.rules]
        return described

    def manifest(self) -> dict[str, Any]:
        """Return the value as JSON for the API server, in camelCase and without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Observed(Model):
    """Part of a status. An unknown field is ignored: a newer version wrote it, to grant nothing.

    So a rolled-back version still reads the resource.
    """

    model_config = ConfigDict(extra="ignore")


def _docstrings(model: type[Model]) -> dict[str, str]:
    """Return the docstrings of a model's fields, those of its bases included."""
    return {
        name: text
        for each in reversed(model.__mro__)
        if issubclass(each, Model)
        for name, text in attribute_docstrings(each).items()
        if name in model.model_fields
    }


@cache
def _names(model: type[Model]) -> frozenset[str]:
    """Return the names of a model's fields, in Python and in a manifest."""
    fields = model.model_fields
    return frozenset(fields).union(map(spelled, fields))


def immutable_changes(old: Model, new: Model) -> list[str]:
    """Return the message of every immutable field that differs between two specs of one kind."""
    return [
        mark.message
        for name, field in type(new).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Immutable) and getattr(old, name) != getattr(new, name)
    ]


def exactly_one(*fields: str, message: str) -> Rule:
    """Return the rule that exactly one of these optional fields is set."""
    count = " + ".join(f"(has(self.{spelled(field)}) ? 1 : 0)" for field in fields)
    return Rule(
        cel=f"{count} == 1",
        message=message,
        holds=lambda value: sum(getattr(value, field) is not None for field in fields) == 1,
    )
