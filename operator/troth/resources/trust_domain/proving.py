"""Settings of the proofs of `TrustDomain.spec.proving`."""

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Duration, duration_between, whole


class Proving(Model):
    """Schedule of the probes that prove the edges of the domain's identities."""

    every: Annotated[Duration, duration_between("1h", "720h")] = timedelta(hours=24)
    """Maximum age of the proofs of an identity. Default 24h. The CronJob of the chart
    (prove.enabled) renews older ones the next time it runs."""
    sample: Annotated[int, Field(ge=0, le=50, strict=True), BeforeValidator(whole)] = 5
    """Number of pairs without an edge to probe for each identity. Default 5. Each time, other pairs
    are chosen."""
