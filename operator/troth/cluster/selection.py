"""Selections of lists and watches, by namespace, labels and fields."""

from dataclasses import dataclass
from functools import lru_cache

from troth.resources.references import Ref


@lru_cache
def requirements(fields: str) -> tuple[tuple[str, str, bool], ...]:
    """Return the requirements of a field selector: field, value, and whether it must differ."""
    parts = (each.partition("!=") for each in filter(None, fields.split(",")))
    return tuple(
        (field, value, True) if operator else (field.split("=")[0], field.split("=")[1], False)
        for field, operator, value in parts
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection of objects of a kind, by namespace, label selector and field selector.

    `subset` is the watch class of the objects if they are cached apart from the kind's others. With
    `metadata_only` the API server sends only the metadata of the objects.
    """

    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    subset: str = ""
    metadata_only: bool = False

    @property
    def watch_class(self) -> str:
        """Watch class of the objects: their kind, or the name of a subset that is cached apart."""
        return self.subset or self.kind

    @property
    def query(self) -> dict[str, str | int | None]:
        """Selectors as parameters of a request."""
        return {"labelSelector": self.labels, "fieldSelector": self.fields}

    def covers(self, ref: Ref) -> bool:
        """Return whether the selection covers an object of the watch class, judged by its name.

        Of the field selector only `metadata.namespace` and `metadata.name` are supported.
        """
        if self.namespace not in ("", ref.namespace):
            return False
        found = {"metadata.namespace": ref.namespace, "metadata.name": ref.name}
        return all(
            (found[field] != value) is differs
            for field, value, differs in requirements(self.fields)
        )
