"""The stage of an act with messages: a broker, and the example's objects in the cluster."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo.cast import SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.messages.broker import Broker
from sandbox.demo.messages.kafka import KafkaBroker, kafka
from sandbox.demo.messages.nats import NatsBroker, nats
from sandbox.demo.mounts import Mount
from sandbox.demo.namespaces import applied, own, renamed
from sandbox.demo.screen import Screen
from sandbox.demo.setting import BrokerName
from sandbox.demo.shop import Manifest, Place

MAIN = Place(own("messaging"), "main")
POLICY = ("topicpolicy", "orders", "--namespace", SHOP)
OWNED = "troth.dev/owner-kind=MessageBroker"
"""Label of the objects that Troth creates for a broker."""
PATIENCE = "--timeout=30s"
BROKERS: Mapping[BrokerName, Callable[[], AbstractContextManager[NatsBroker | KafkaBroker]]]
BROKERS = {BrokerName.NATS: nats, BrokerName.KAFKA: kafka}


@contextmanager
def staged(
    screen: Screen, cluster: Cluster, name: BrokerName
) -> Iterator[NatsBroker | KafkaBroker]:
    """Run a broker, and declare it with its policy, while the context lasts.

    Removes all objects of the broker from the cluster.
    """
    with ExitStack() as stack:
        with screen.step("broker") as say:
            broker = stack.enter_context(BROKERS[name]())
            say(broker.title)
        with screen.step("messages") as say:
            stack.enter_context(_declared(cluster, broker))
            cluster.await_ready("messagebrokers,topicpolicies")
            say(applied(f"examples/messages/{broker.example.name}"))
        yield broker


def mount(directory: Path) -> Mount:
    """Return the mount of a Secret of the shop with the directory's name."""
    return Mount(Place(SHOP, directory.name), directory)


@contextmanager
def _declared(cluster: Cluster, broker: Broker) -> Iterator[None]:
    """Declare the broker, its policy and its administrator's Secrets while the context lasts."""
    kubectl, here = cluster.sandbox.kubectl, f"--namespace={MAIN.namespace}"
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_manifests(broker)))
    yield
    kubectl("delete", *POLICY, PATIENCE, "--ignore-not-found")
    kubectl("delete", "messagebroker", MAIN.name, here, PATIENCE)
    # the garbage collector deletes it later, or never with envtest, and the next act needs its name
    kubectl("delete", "networkpolicy", f"--selector={OWNED}", here)
    kubectl("delete", "secret", *broker.secrets, here)


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
