"""A path to the API server on which things go wrong when a test says so.

    async with FaultyPath(kubeconfig, directory) as path:
        path.once("PATCH", "secrets", faults.lost)
        ...  # run the operator with path.kubeconfig

It stands between operator and API server, with TLS to either side, and lets everything pass
unchanged until it is told otherwise. What befalls single requests, and is told by their verb and
their resource in the plural, is a `Fault`; what befalls watches that are open, `mute`, `cut` and
`tear`, is the path's own doing.
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
