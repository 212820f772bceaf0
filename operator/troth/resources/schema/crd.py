"""CustomResourceDefinitions made from the models.

Pydantic's JSON schema is rewritten into a structural schema, which the API server requires: no
`$ref`, no `anyOf` around optional fields, no `const`, no `additionalProperties: false`.
"""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from troth.resources.conditions import UNOBSERVED
from troth.resources.kinds import Kind
from troth.resources.metadata import GROUP, VERSION, Resource
from troth.resources.schema.model import Model
from troth.resources.schema.rules import VALIDATIONS
from troth.resources.schema.scalars import format_duration

Schema = dict[str, Any]

_DROPPED = {"title", "discriminator", "examples", "uniqueItems"}
_NOTHING: tuple[Any, ...] = (None, [], {})


class _WrittenDefaults(GenerateJsonSchema):
    """Writes defaults as a user would, with durations such as 24h."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        match dft:
            case Model():
                return dft.manifest()
            case timedelta():
                return format_duration(dft)
            case tuple():
                return [self.encode_default(each) for each in dft]
            case _:
                return super().encode_default(dft)


def custom_resource_definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind as a manifest."""
    singular = kind.name.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            # a Helm uninstall must not delete every declaration in the cluster
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"app.kubernetes.io/name": "troth"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": singular,
                "shortNames": [kind.short_name],
                "categories": ["troth"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": root_schema(kind.model)},
                    **({"subresources": {"status": {}}} if has_status(kind.model) else {}),
                    "additionalPrinterColumns": [
                        column.as_printer_column() for column in kind.columns
                    ],
                }
            ],
        },
    }


def root_schema(model: type[Resource]) -> Schema:
    """Return the structural schema of a resource. The API server validates `metadata`."""
    generated = model.model_json_schema(
        by_alias=True, mode="validation", schema_generator=_WrittenDefaults
    )
    definitions = generated.pop("$defs", {})
    properties = {
        part: structural(generated["properties"][part], definitions)
        for part in ("spec", "status")
        if part in model.model_fields
    }
    if has_status(model):
        properties["status"]["default"] = {"observedGeneration": UNOBSERVED}
    return {
        "type": "object",
        "description": _sentence(model.__doc__ or ""),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **properties,
        },
        **({VALIDATIONS: [rule.as_validation() for rule in model.rules]} if model.rules else {}),
    }


def has_status(model: type[Resource]) -> bool:
    """Return whether a resource has a status."""
    return "status" in model.model_fields


def structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return `schema` as a structural schema, with references inlined."""
    schema = _inlined(schema, definitions)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    if "default" in schema:
        schema["default"] = _without_empty(schema["default"])
        if schema["default"] in _NOTHING:
            del schema["default"]
    if schema.get("type") == "integer":
        schema.setdefault("format", "int32" if "maximum" in schema else "int64")
    if "description" in schema:
        schema["description"] = _sentence(schema["description"])
    if "properties" in schema:
        schema["properties"] = {
            name: structural(part, definitions) for name, part in schema["properties"].items()
        }
    for word in ("items", "additionalProperties"):
        if word in schema:
            schema[word] = structural(schema[word], definitions)
    return schema


def _inlined(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return `schema` with references inlined and without the `null` of an optional field."""
    schema = {word: value for word, value in schema.items() if word not in _DROPPED}
    if "$ref" in schema:
        target = definitions[schema.pop("$ref").rpartition("/")[2]]
        schema = {**target, **schema}
        schema.pop("title", None)
    if "anyOf" in schema:
        (only,) = (option for option in schema.pop("anyOf") if option != {"type": "null"})
        schema = {**structural(only, definitions), **schema}
    return schema


def _without_empty(default: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a default without its empty parts, which mean the same as absent ones."""
    if isinstance(default, dict):
        parts = {key: _without_empty(part) for key, part in default.items()}
        return {key: part for key, part in parts.items() if part not in _NOTHING}
    return default


def _sentence(text: str) -> str:
    return " ".join(text.split())
