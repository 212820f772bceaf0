"""References from one resource to another."""

from typing import NamedTuple, Self

from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Name, NamespaceName


class Ref(NamedTuple):
    """Where an object is: its namespace (empty for what has none) and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @classmethod
    def of(cls, manifest: dict[str, dict[str, str]]) -> Self:
        """Return where a manifest says its object is."""
        metadata = manifest["metadata"]
        return cls(metadata.get("namespace", ""), metadata["name"])


class LocalReference(Model):
    """Names an object whose namespace is given by the context, or which has none."""

    name: Name
    """The object's name."""


class Reference(Model):
    """Names an object in this or another namespace."""

    name: Name
    """The object's name."""
    namespace: NamespaceName | None = None
    """The object's namespace; the referring object's own when left out."""

    def seen_from(self, namespace: str) -> Ref:
        """Return what is meant when an object in `namespace` writes this."""
        return Ref(self.namespace or namespace, self.name)
