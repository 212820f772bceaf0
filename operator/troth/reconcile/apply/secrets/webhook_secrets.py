"""The Secrets that the steps for a WebhookEndpoint write."""

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from troth.planning.steps.webhooks import ChangeWebhookKeys, CompileEndpoint
from troth.resources.webhooks.schemes import SchemeName
from troth.world.facts.objects import Manifest
from troth.world.observation.broker_secrets import digest
from troth.world.observation.webhook_secrets import (
    COMPILED_DIGEST,
    COMPILED_WITH,
    DOCUMENT,
    KEY_PREFIX,
    LISTED,
    MADE,
    keys_text,
    made_text,
)

KEY_BYTES = 32
"""Random bytes of a key: twice what an HMAC with SHA-256 needs, and what GitLab requires."""


def key_text(scheme: SchemeName) -> str:
    """Return a new key in the form that the sender takes."""
    if scheme in (SchemeName.STANDARD_WEBHOOKS, SchemeName.GITLAB):
        return f"whsec_{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"
    return secrets.token_hex(KEY_BYTES)


def changed_data(step: ChangeWebhookKeys, now: datetime) -> Manifest:
    """Return the data and annotations that the step changes, with null for each removed entry."""
    made = dict(step.made)
    data: dict[str, Any] = dict.fromkeys(step.drops)
    if step.adds:
        made[step.adds] = now.replace(microsecond=0)
        data[step.adds] = _encoded(key_text(step.scheme).encode())
    return {"annotations": {MADE: made_text(made)}, "data": data}


def new_secret(step: ChangeWebhookKeys, now: datetime) -> Manifest:
    """Return a Secret with a first key."""
    change = changed_data(step, now)
    metadata = {**step.manifest["metadata"], "annotations": change["annotations"]}
    return {**step.manifest, "metadata": metadata, "data": change["data"]}


def keys_patch(step: ChangeWebhookKeys, now: datetime) -> Manifest:
    """Return the merge patch of a change, for a Secret that is unchanged since planning."""
    change = changed_data(step, now)
    metadata = {
        "uid": step.uid,
        "resourceVersion": step.resource_version,
        "labels": step.manifest["metadata"]["labels"],
        "annotations": change["annotations"],
    }
    return {"metadata": metadata, "data": change["data"]}


def compiled(step: CompileEndpoint, keys: Mapping[str, bytes]) -> Manifest:
    """Return the compiled Secret of an endpoint with these keys."""
    data = {KEY_PREFIX + key: text for key, text in keys.items()}
    data[DOCUMENT] = step.document.encode()
    annotations = {
        COMPILED_WITH: keys_text(step.keys),
        COMPILED_DIGEST: digest(data),
        LISTED: step.listed,
    }
    metadata = {**step.manifest["metadata"], "annotations": annotations}
    encoded = {name: _encoded(value) for name, value in data.items()}
    return {**step.manifest, "metadata": metadata, "data": encoded}


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
