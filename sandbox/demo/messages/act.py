"""The message act: declared and undeclared use of topics, and a policy that is deleted."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.messages import table
from sandbox.demo.messages.broker import ORDERS, Broker
from sandbox.demo.messages.kafka import kafka
from sandbox.demo.messages.nats import nats
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.namespaces import applied, own, renamed
from sandbox.demo.screen import Screen
from sandbox.demo.setting import BrokerName
from sandbox.demo.shop import Manifest, Place
from sandbox.demo.trials import run
from sandbox.processes import Tether

MAIN = Place(own("messaging"), "main")
BROKERS: Mapping[BrokerName, Callable[[], AbstractContextManager[Broker]]]
BROKERS = {BrokerName.NATS: nats, BrokerName.KAFKA: kafka}
PATIENCE = "--timeout=30s"
HEADINGS = ("service", "what it does", "answer")


def show_messages(screen: Screen, cluster: Cluster, tether: Tether, name: BrokerName) -> bool:
    """Show declared and undeclared use and a deleted policy; return whether all is as expected.

    Removes all objects of the broker from the cluster.
    """
    screen.title("Messages: the broker accepts only declared publishers and consumers")
    with ExitStack() as stack:
        with screen.step("broker") as say:
            broker = stack.enter_context(BROKERS[name]())
            say(broker.title)
        with screen.step("messages") as say:
            stack.enter_context(_declared(cluster, broker))
            cluster.await_ready("messagebrokers,topicpolicies")
            say(applied(f"examples/messages/{broker.example.name}"))
        files = {place: tether.directory / f"{place.name}-main" for place in (CHECKOUT, FULFILMENT)}
        identity = tether.directory / f"{FULFILMENT.name}-identity"
        mounts = [_mount(directory) for directory in (*files.values(), identity)]
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, mounts))
        services = {place: broker.connect(directory) for place, directory in files.items()}
        stack.callback(broker.close)
        results = run(table.declared(services, identity))
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
def _declared(cluster: Cluster, broker: Broker) -> Iterator[None]:
    """Declare the broker, its policy and its administrator's Secrets while the context lasts."""
    kubectl, here = cluster.sandbox.kubectl, f"--namespace={MAIN.namespace}"
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_manifests(broker)))
    yield
    kubectl("delete", "messagebroker", MAIN.name, here, PATIENCE)
    kubectl("delete", "secret", *broker.secrets, here)


@contextmanager
def _deleting(cluster: Cluster) -> Iterator[None]:
    """Delete the policy in the background; raises `CommandError` if it is not gone in time."""
    with ThreadPoolExecutor(1) as executor:
        deletion = executor.submit(cluster.sandbox.kubectl, *table.DELETE, PATIENCE)
        yield
        deletion.result()


def _manifests(broker: Broker) -> list[Manifest]:
    """Return the example's objects with this broker's address, and its administrator's Secrets."""
    manifests: list[Manifest] = list(map(renamed, yaml.safe_load_all(broker.example.read_text())))
    for manifest in manifests:
        if manifest["kind"] == "MessageBroker":
            _merge(manifest["spec"], broker.spec)
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": MAIN.namespace},
            "stringData": dict(data),
        }
        for name, data in broker.secrets.items()
    ]
    return [manifests[0], *secrets, *manifests[1:]]


def _merge(spec: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, Mapping):
            _merge(spec[name], value)
        else:
            spec[name] = value


def _mount(directory: Path) -> Mount:
    return Mount(Place(CHECKOUT.namespace, directory.name), directory)
