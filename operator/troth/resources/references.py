"""References from one resource to another."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Name, NamespaceName
from troth.resources.schema.sharing import shared


class Ref(NamedTuple):
    """Namespace and name of an object. The namespace of a cluster-scoped object is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the namespace and name of a manifest's object."""
        metadata = manifest["metadata"]
        return cls(metadata.get("namespace", ""), metadata["name"])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the object that `<namespace>/<name>` means, as `str` writes it."""
        namespace, _, name = text.rpartition("/")
        return cls(namespace, name)


class LocalReference(Model):
    """Reference to a cluster-scoped object, or to one whose namespace follows from the context."""

    name: Name
    """Name of the object."""


class Reference(Model):
    """Reference to an object in this or another namespace."""

    name: Name
    """Name of the object."""
    namespace: NamespaceName | None = None
    """Namespace of the object. Defaults to the namespace of the referring object."""

    def seen_from(self, namespace: str) -> Ref:
        """Return the object that this reference means in an object of `namespace`."""
        return Ref(self.namespace or namespace, self.name)


SharedReference = Annotated[Reference, shared()]
"""Reference that many objects have in common."""
