"""Report of a gateway: the time at which each key last verified a delivery.

The replicas of a gateway share one ConfigMap in its namespace, with the label `LABEL`. It has one
member `<namespace>.<endpoint>` for each endpoint: a JSON object from key ID to RFC 3339 time. If
there were several ConfigMaps, the latest time would count. The report holds no key material.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic_core import PydanticCustomError

from troth.pki.encodings import strict_json
from troth.resources.schema.scalars import format_time, parse_moment

LABEL = "troth.dev/webhook-report"
"""Label of a report; its value is the name of the gateway's ServiceIdentity."""
LONGEST = 16 * 1024
"""Maximum size of an endpoint's member in bytes, enough for sixteen keys with long names."""

Verified = Mapping[str, datetime]
"""Time at which each key last verified a delivery, by key ID."""


def member(verified: Verified) -> str:
    """Return a report's member for one endpoint; equal times give equal texts."""
    return json.dumps({key: format_time(moment) for key, moment in sorted(verified.items())})


def parse_member(text: str) -> Verified:
    """Return the times in a report's member; an invalid member has none."""
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
