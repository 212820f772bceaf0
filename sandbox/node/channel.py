"""A connection to a pod's workload that no NetworkPolicy can block.

The workload listens on an abstract unix socket. Such a socket belongs to a network namespace. So a
process that creates a socket inside the pod's namespace can connect from outside, without an
address and without a file.
"""

import socket

from sandbox.node.namespaces import NetworkNamespace

CONTROL = "\0troth-workload"  # as in workload/main.go


def open_channel(network: NetworkNamespace) -> socket.socket:
    """Connect to the workload in a namespace; raises `OSError` while it does not serve."""
    with network.inside():
        channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(CONTROL)
    except OSError:
        channel.close()
        raise
    return channel


def serves(network: NetworkNamespace) -> bool:
    """Return whether the workload in a namespace has opened its ports."""
    try:
        open_channel(network).close()
    except OSError:
        return False
    return True
