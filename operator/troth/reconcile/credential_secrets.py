"""Making the Secret that a step of a credential asks for."""

import base64
from datetime import datetime

from troth.brokers.credentials import turned
from troth.planning.plan import TurnCredential
from troth.reconcile.keyring import Keyring
from troth.resources.references import Ref
from troth.world.broker_secrets import DIGEST, TYPE, digest
from troth.world.facts import Manifest


def credential_secret(step: TurnCredential, keyring: Keyring, now: datetime) -> Manifest:
    """Return the whole Secret after the turn; raises `ValueError` where it is not what it was
    planned from.
    """
    before = keyring.credential_data(Ref.of(step.manifest))
    data = turned(step.turn, before, step.request, now)
    metadata = step.manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest(data)}
    return {
        **step.manifest,
        "type": TYPE,
        "metadata": {**metadata, "annotations": annotations},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }
