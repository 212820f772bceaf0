"""The message act: declared and undeclared use of topics, and a policy that is deleted."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.messages import table
from sandbox.demo.messages.broker import ORDERS
from sandbox.demo.messages.stage import PATIENCE, mount, staged
from sandbox.demo.mounts import mounted
from sandbox.demo.screen import Screen
from sandbox.demo.setting import BrokerName
from sandbox.demo.trials import run
from sandbox.processes import Tether

HEADINGS = ("service", "what it does", "answer")


def show_messages(screen: Screen, cluster: Cluster, tether: Tether, name: BrokerName) -> bool:
    """Show declared and undeclared use and a deleted policy; return whether all is as expected.

    Removes all objects of the broker from the cluster.
    """
    screen.title("Messages: the broker accepts only declared publishers and consumers")
    with ExitStack() as stack:
        broker = stack.enter_context(staged(screen, cluster, name))
        files = {place: tether.directory / f"{place.name}-main" for place in (CHECKOUT, FULFILMENT)}
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, map(mount, files.values())))
        services = {place: broker.connect(directory) for place, directory in files.items()}
        stack.callback(broker.close)
        results = run(table.declared(services))
        results += run(table.undeclared(broker, services, files))
        right = screen.trials(results, *HEADINGS)
        screen.title("A deleted policy: the broker closes connections and rejects logins")
        if (answer := services[CHECKOUT].publish(ORDERS, table.ORDER)).rejected:
            raise DemoError(f"the broker rejects checkout before the deletion: {answer.words}")
        began = time.monotonic()
        with _deleting(cluster):
            trials = table.deleted(cluster, broker, services[CHECKOUT], files[CHECKOUT])
            results = run(trials, since=began)
        screen.command(f"kubectl {' '.join(table.DELETE)}")
        return screen.trials(results, *HEADINGS) and right


@contextmanager
def _deleting(cluster: Cluster) -> Iterator[None]:
    """Delete the policy in the background; raises `CommandError` if it is not gone in time."""
    with ThreadPoolExecutor(1) as executor:
        deletion = executor.submit(cluster.sandbox.kubectl, *table.DELETE, PATIENCE)
        yield
        deletion.result()
