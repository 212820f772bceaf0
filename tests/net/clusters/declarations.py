"""Random declarations of one small cluster: users' resources of every kind."""

from tests.net.clusters.messages import Messages
from tests.net.clusters.webhooks import Webhooks
from tests.net.clusters.workloads import Workloads


class Declarations(Messages, Webhooks, Workloads):
    """Draws declarations of every kind around the same wishes."""
