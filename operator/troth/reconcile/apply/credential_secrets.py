"""The Secret that a step of a credential asks for."""

import base64
from collections.abc import Mapping
from datetime import datetime

from troth.brokers.errors import BrokerError
from troth.planning.steps.broker_credentials import Turn, TurnCredential
from troth.reconcile.apply.credential_turns import turned
from troth.world.facts.objects import Manifest
from troth.world.observation.broker_secrets import DIGEST, digest


class CredentialError(Exception):
    """No credential can be made as it is asked for; the sentence holds nothing of any."""

    reason = "CredentialRefused"


def credential_secret(step: TurnCredential, before: Mapping[str, bytes], now: datetime) -> Manifest:
    """Return the whole Secret after a turn; `before` is the data that it has now.

    One that seems intact and is of no use gets a new credential. Raises `CredentialError` where
    there cannot be one.
    """
    try:
        data = _turned(step, before, now)
    except (ValueError, BrokerError) as error:
        raise CredentialError(str(error)) from None
    metadata = {**step.manifest["metadata"], "annotations": {DIGEST: digest(data)}}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {**step.manifest, "metadata": metadata, "data": encoded}


def _turned(step: TurnCredential, before: Mapping[str, bytes], now: datetime) -> dict[str, bytes]:
    try:
        return turned(step.turn, before, step.request, now)
    except ValueError:
        if step.turn is Turn.ISSUE:
            raise
        return turned(Turn.ISSUE, {}, step.request, now)


def replacing(step: TurnCredential, secret: Manifest, before: Mapping[str, bytes]) -> Manifest:
    """Return the merge patch that makes a Secret, if it is as it was seen, what it is to be.

    Of what somebody added to its data nothing stays: an apply would leave that where it is, and the
    Secret would never be as Troth left it.
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
