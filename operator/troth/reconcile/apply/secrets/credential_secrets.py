"""The Secrets that the steps for broker credentials write."""

import base64
from collections.abc import Mapping
from datetime import datetime

from troth.brokers.errors import BrokerError
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data
from troth.world.facts.objects import Manifest
from troth.world.observation.broker_secrets import DIGEST, digest


class CredentialError(Exception):
    """A requested credential cannot be issued. The message contains no part of a credential."""

    reason = "CredentialRefused"


def credential_secret(
    step: ChangeCredential, before: Mapping[str, bytes], now: datetime
) -> Manifest:
    """Return the complete Secret after a change; `before` is its current data.

    If the current data cannot be used, a new credential is issued. Raises `CredentialError` if that
    is not possible.
    """
    try:
        data = _changed_data(step, before, now)
    except (ValueError, BrokerError) as error:
        raise CredentialError(str(error)) from None
    metadata = {**step.manifest["metadata"], "annotations": {DIGEST: digest(data)}}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {**step.manifest, "metadata": metadata, "data": encoded}


def _changed_data(
    step: ChangeCredential, before: Mapping[str, bytes], now: datetime
) -> dict[str, bytes]:
    try:
        return changed_data(step.change, before, step.request, now)
    except ValueError:
        if step.change is CredentialChange.ISSUE:
            raise
        return changed_data(CredentialChange.ISSUE, {}, step.request, now)


def replacing(step: ChangeCredential, secret: Manifest, before: Mapping[str, bytes]) -> Manifest:
    """Return the merge patch that replaces a Secret, if it is unchanged since planning.

    The patch removes keys that others added. An apply would keep them, and the Secret would never
    match what Troth writes.
    """
    metadata = secret["metadata"]
    return {
        "metadata": {
            "uid": step.uid,
            "resourceVersion": step.resource_version,
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
        },
        "data": {**dict.fromkeys(before.keys() - secret["data"].keys()), **secret["data"]},
    }
