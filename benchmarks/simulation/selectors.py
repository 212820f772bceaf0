"""Label and field selectors of a list or watch, as far as Troth uses them."""

from collections.abc import Mapping
from dataclasses import dataclass

from troth.world.facts.objects import Manifest


@dataclass(frozen=True, slots=True)
class Filter:
    """Selection of objects of one kind: by namespace, label selector and field selector."""

    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def matches(self, manifest: Manifest) -> bool:
        """Return whether an object of the kind is selected."""
        metadata = manifest["metadata"]
        if self.namespace not in ("", metadata.get("namespace", "")):
            return False
        fields = {f"metadata.{key}": metadata.get(key, "") for key in ("name", "namespace")}
        return _holds(self.labels, metadata.get("labels") or {}) and _holds(self.fields, fields)


def _holds(selector: str, values: Mapping[str, str]) -> bool:
    return all(_requirement(each, values) for each in filter(None, selector.split(",")))


def _requirement(text: str, values: Mapping[str, str]) -> bool:
    key, sign, value = text.partition("=")
    if sign:
        differs = key.endswith("!")
        return (values.get(key.removesuffix("!")) == value) is not differs
    return (key.removeprefix("!") in values) is not key.startswith("!")
