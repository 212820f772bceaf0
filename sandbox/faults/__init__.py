"""A proxy to the API server that injects faults when a test asks for them.

    async with FaultyPath(kubeconfig, directory) as path:
        path.once("PATCH", "secrets", faults.lost)
        ...  # run the operator with path.kubeconfig

The proxy runs between operator and API server, with TLS on both sides. By default it forwards every
request unchanged. A `Fault` affects single requests, selected by verb and plural resource. The
methods `cut` and `tear` and the set `muted` of the path affect open watches.
"""

from sandbox.faults.answers import (
    Past,
    answered_late,
    delayed,
    error_event,
    held,
    lost,
    of_object,
    status,
)
from sandbox.faults.path import Call, Fault, FaultyPath

__all__ = [
    "Call",
    "Fault",
    "FaultyPath",
    "Past",
    "answered_late",
    "delayed",
    "error_event",
    "held",
    "lost",
    "of_object",
    "status",
]
