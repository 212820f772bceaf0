"""Parsing of declared resources, or the reason why they are invalid."""

from typing import TypeVar

from pydantic import ValidationError

from troth.resources.manifests import faults_of
from troth.resources.metadata import Resource
from troth.world.facts.objects import UNREADABLE, Manifest

R = TypeVar("R", bound=Resource)


def says_terminating(manifest: Manifest | None) -> bool:
    """Return whether an object is being deleted; its spec need not be valid."""
    return manifest is not None and bool(manifest["metadata"].get("deletionTimestamp"))


def parsed(manifest: Manifest | None, model: type[R]) -> tuple[R | None, str]:
    """Return the resource of a manifest, or the reason why it is invalid."""
    if manifest is None:
        return None, ""
    if UNREADABLE in manifest:
        return None, str(manifest[UNREADABLE])
    try:
        return model.parse(manifest), ""
    except ValidationError as error:
        return None, "; ".join(str(fault) for fault in faults_of(error, "", ""))
