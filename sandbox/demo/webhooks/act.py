"""The webhook act: deliveries, requests that bypass the gateway, and a second signing key."""

import json
import time
from contextlib import ExitStack

from sandbox.demo.cluster import Cluster
from sandbox.demo.screen import Screen
from sandbox.demo.trials import run
from sandbox.demo.webhooks import table
from sandbox.demo.webhooks.example import new_key
from sandbox.demo.webhooks.gateway import Gateway, running
from sandbox.processes import Tether
from sandbox.valkey import ValkeyServer

HEADINGS = ("sender → endpoint", "what it sends", "answer")


def show_webhooks(screen: Screen, cluster: Cluster, tether: Tether) -> bool:
    """Show deliveries and what else looks like one; return whether all is as expected.

    Removes all of its objects from the cluster.
    """
    screen.title("Webhooks: the gateway accepts signed, fresh deliveries, each once")
    with ExitStack() as stack:
        with screen.step("gateway, target") as say:
            store = stack.enter_context(ValkeyServer.serving())
            gateway = stack.enter_context(running(cluster, tether, store))
            say("`troth gateway` with the chart's rights, Valkey, and a target")
        return show_deliveries(screen, gateway)


def show_deliveries(screen: Screen, gateway: Gateway) -> bool:
    """Show deliveries to a gateway that runs; return whether all is as expected."""
    screen.explain("Below each delivery is the line that the gateway logs.")
    right = screen.trials(run(table.deliveries(gateway)), *HEADINGS)
    screen.title("Requests that bypass the gateway: troth.edge rejects them")
    bypassing = run(table.bypassing(gateway))
    right = screen.trials(bypassing, "caller → target", *HEADINGS[1:]) and right
    screen.title("A second signing key: the gateway accepts both")
    endpoint = next(each for each in gateway.example.endpoints if each.is_given)
    old, new = gateway.key(endpoint), new_key()
    secret = ("secret", endpoint.secret.name, "--namespace", endpoint.secret.namespace)
    patch = json.dumps({"stringData": {table.NEW_KEY: new}})
    trials = table.second_key(gateway, endpoint, old, new)
    began = time.monotonic()
    gateway.cluster.sandbox.kubectl("patch", *secret, "--patch", patch)
    screen.command(f"kubectl patch {' '.join(secret)} …   # adds {table.NEW_KEY}")
    return screen.trials(run(trials, since=began), *HEADINGS) and right
