"""Digests of what steps write, to tell a repair from a changed declaration."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from troth.planning.steps.broker_credentials import ChangeCredential
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.steps.step import ManifestStep, SecretStep, WriteStep
from troth.planning.steps.webhooks import ChangeWebhookKeys
from troth.world.facts.objects import REPLACED_AT, Manifest
from troth.world.world import World

_OBSERVED = frozenset({"uid", "resource_version", "over", "message"})
"""Fields of steps about the observed object, and not about what is written."""
_HANDOVER = "handover"
_BY_TIME = frozenset({"RenewalDue", "RotationDue"})
"""Reasons of an issuance that follow from the age of the replaced leaf."""


def content_of(step: WriteStep, world: World) -> bytes:
    """Return a digest of what a step writes."""
    parts = _plain(step)
    assert isinstance(parts, dict), "every step is a dataclass"
    wanted = {name: part for name, part in parts.items() if name not in _OBSERVED}
    if isinstance(step, ManifestStep):
        wanted["manifest"] = _undated(step.manifest)
    if isinstance(step, IssueLeaf) and step.reason in _BY_TIME:
        secret = world.secrets.get(step.target[1])
        wanted["replaces"] = secret.leaf.fingerprint if secret and secret.leaf else ""
    return digest({type(step).__name__: wanted})


def kind_of(step: WriteStep) -> str:
    """Return which writes of an object a step is compared with.

    The changes of a handover follow each other in a circle, so each is compared with any.
    """
    changes = isinstance(step, SecretStep) and not isinstance(step, UpdateIssuer)
    if changes or isinstance(step, ChangeCredential | ChangeWebhookKeys):
        return _HANDOVER
    return type(step).__name__


def _undated(manifest: Manifest) -> Manifest:
    """Return a manifest without the time at which it was planned."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    kept = {name: text for name, text in annotations.items() if name != REPLACED_AT}
    return {**manifest, "metadata": {**metadata, "annotations": kept}}


def digest(content: object) -> bytes:
    """Return a digest of plain values and dataclasses, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).digest()


def _plain(value: object) -> object:
    """Return a value of a step in a form for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)
