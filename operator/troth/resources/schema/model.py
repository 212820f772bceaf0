"""The base of everything a user writes and of every status Troth writes back."""

from functools import cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from troth.resources.schema.rules import VALIDATIONS, Immutable, Rule

# where camelCase alone would break Kubernetes' way with acronyms, or a word is Python's own
_SPELLED = {
    "from_": "from",
    "kubernetes_api": "kubernetesAPI",
    "public_url": "publicURL",
    "schema_": "schema",
    "spiffe_id": "spiffeID",
    "topic_arns": "topicARNs",
}


def spelled(field: str) -> str:
    """Return a field's name as a manifest has it."""
    return _SPELLED.get(field) or to_camel(field)


def given(value: Any) -> Any:  # noqa: ANN401 - whatever stands where an object should
    """Return an object without the fields that are null: to the API server they are not there."""
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if part is not None}
    return value


class Model(BaseModel):
    """A frozen value in camelCase, with the rules that hold over several of its fields.

    An unknown field is refused: it may be a restriction that this version cannot honour.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=spelled,
        populate_by_name=True,
        use_attribute_docstrings=True,
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
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(core_schema)
        if cls.rules:
            target = handler.resolve_ref_schema(described)
            target[VALIDATIONS] = [rule.as_validation() for rule in cls.rules]
        return described

    def manifest(self) -> dict[str, Any]:
        """Return the value as the API server's JSON: camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@cache
def _names(model: type[Model]) -> frozenset[str]:
    """Return the names that a model's fields go by, in Python and in a manifest."""
    fields = model.model_fields
    return frozenset(fields).union(map(spelled, fields))


def immutable_changes(old: Model, new: Model) -> list[str]:
    """Return the sentences of every immutable field that differs between two specs of one kind."""
    return [
        mark.message
        for name, field in type(new).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Immutable) and getattr(old, name) != getattr(new, name)
    ]


def exactly_one(*fields: str, message: str) -> Rule:
    """Return the rule of a discriminated choice: of these optional members exactly one is set."""
    count = " + ".join(f"(has(self.{spelled(field)}) ? 1 : 0)" for field in fields)
    return Rule(
        cel=f"{count} == 1",
        message=message,
        holds=lambda value: sum(getattr(value, field) is not None for field in fields) == 1,
    )
