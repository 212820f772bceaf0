"""Patches that change a Secret only if it is unchanged since planning."""

from collections.abc import Iterable, Mapping

from troth.planning.steps.step import SecretStep
from troth.world.facts.objects import Manifest


def merge_data(step: SecretStep, data: Mapping[str, str]) -> Manifest:
    """Return a merge patch that writes some of the data."""
    metadata = {"uid": step.uid, "resourceVersion": step.resource_version}
    return {"metadata": metadata, "data": data}


def drops(slots: Iterable[str]) -> list[Manifest]:
    """Return JSON patch operations that remove some of the data."""
    return [{"op": "remove", "path": f"/data/{slot}"} for slot in slots]


def unchanged(step: SecretStep) -> list[Manifest]:
    """Return JSON patch operations that test whether the Secret is unchanged since planning."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": step.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": step.resource_version},
    ]
