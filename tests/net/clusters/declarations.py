"""Random declarations of one small cluster: what users write, of every kind."""

from tests.net.clusters.messages import Messages
from tests.net.clusters.webhooks import Webhooks
from tests.net.clusters.workloads import Workloads


class Declarations(Messages, Webhooks, Workloads):
    """Draws declarations around the same wishes."""
