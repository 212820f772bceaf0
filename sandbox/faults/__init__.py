"""A proxy to the API server that injects faults when a test asks for them.

    async with FaultyPath(kubeconfig, directory) as path:
        path.once("PATCH", "secrets", faults.lost)
        ...  # run the operator with path.kubeconfig

The proxy runs between operator and API server, with TLS on both sides. By default it forwards every
request unchanged. A `Fault` affects single requests, selected by verb and plural resource. The
methods `cut` and `tear` and the set `muted` of the path affect open watches. A `Relay` sees only
bytes, so it can also stand between an API server and etcd.
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
from sandbox.faults.relay import Relay

__all__ = [
    "Call",
    "Fault",
    "FaultyPath",
    "Past",
    "Relay",
    "answered_late",
    "delayed",
    "error_event",
    "held",
    "lost",
    "of_object",
    "status",
]
