"""What a gateway reports of its keys: when each last verified a delivery.

In the gateway's namespace there is a ConfigMap, which its replicas share, with the label `LABEL`
and a member `<namespace>.<endpoint>` for each endpoint: a JSON object with a time, as RFC 3339 has
it, by the key's id. Were there more, the latest time would count. Nothing of a key is there.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic_core import PydanticCustomError

from troth.pki import strict_json
from troth.resources.schema.scalars import format_time, parse_moment

LABEL = "troth.dev/webhook-report"
"""The label of a report; its value is the name of the gateway's ServiceIdentity."""
LONGEST = 16 * 1024
"""Bytes of what is said of one endpoint: sixteen keys with long names."""

Verified = Mapping[str, datetime]
"""When each key last verified a delivery, by its id."""


def member(verified: Verified) -> str:
    """Return what a report says of one endpoint; the same for the same times."""
    return json.dumps({key: format_time(moment) for key, moment in sorted(verified.items())})


def parse_member(text: str) -> Verified:
    """Return what a report says of one endpoint; nothing of what makes no sense."""
    if len(text) > LONGEST:
        return {}
    try:
        document = strict_json.parse(text)
    except ValueError:
        return {}
    found = {}
    for key, moment in document.items() if isinstance(document, dict) else ():
        try:
            found[key] = parse_moment(moment)
        except (PydanticCustomError, ValueError, OverflowError):
            continue
    return found
