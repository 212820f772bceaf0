"""The act about messages: what the broker itself lets pass and refuses, and when a grant ends."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo import message_screen
from sandbox.demo.broker_kafka import kafka
from sandbox.demo.broker_nats import nats
from sandbox.demo.cast import CHECKOUT, FULFILMENT
from sandbox.demo.choosing import BrokerName
from sandbox.demo.cluster import Cluster
from sandbox.demo.message_ending import end
from sandbox.demo.message_trials import declared, misjudged, undeclared
from sandbox.demo.messaging import OnStage
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Manifest, Place
from sandbox.processes import Tether

BROKER = Place("messaging", "main")
STAGES: Mapping[BrokerName, Callable[[], AbstractContextManager[OnStage]]]
STAGES = {BrokerName.NATS: nats, BrokerName.KAFKA: kafka}
PATIENCE = "30s"
SECONDS, PAUSE = 10.0, 0.05


def show_messages(screen: Screen, cluster: Cluster, tether: Tether, name: BrokerName) -> bool:
    """Show what is granted at a broker, what it refuses, and an end; return whether all was right.

    Afterwards nothing of the broker is left in the cluster.
    """
    screen.title("Messages: who publishes and who consumes, and what the broker itself answers")
    with ExitStack() as stack:
        with screen.step("broker") as say:
            stage = stack.enter_context(STAGES[name]())
            say(stage.title)
        with screen.step("messages") as say:
            stack.enter_context(_declared(cluster, stage))
            cluster.await_ready("messagebrokers,topicpolicies")
            say(f"kubectl apply -f examples/messages/{stage.example.name}: granted at the broker")
        files = {place: tether.directory / f"{place.name}-main" for place in (CHECKOUT, FULFILMENT)}
        identity = tether.directory / f"{FULFILMENT.name}-identity"
        mounts = [_mount(directory) for directory in (*files.values(), identity)]
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, mounts))
        services = {place: stage.enter(directory) for place, directory in files.items()}
        stack.callback(stage.close)
        done = list(declared(services))
        message_screen.done(screen, done)
        fault = _once_told(identity)
        message_screen.judged(screen, fault)
        refused = list(undeclared(stage, services, files))
        message_screen.refused(screen, refused)
        screen.title("A policy is deleted while its services are connected")
        ending = end(cluster, stage, services[CHECKOUT], files[CHECKOUT])
        message_screen.ending(screen, ending)
    tried_wrong = any(each.is_wrong for each in (*done, *refused))
    return not (tried_wrong or fault or ending.is_wrong)


@contextmanager
def _declared(cluster: Cluster, stage: OnStage) -> Iterator[None]:
    """Declare the broker, the policy and the Secrets of the broker's administrator meanwhile."""
    cluster.sandbox.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_manifests(stage)))
    yield
    here, patience = f"--namespace={BROKER.namespace}", f"--timeout={PATIENCE}"
    cluster.sandbox.kubectl("delete", "messagebroker", BROKER.name, here, patience)
    cluster.sandbox.kubectl("delete", "secret", *stage.secrets, here)


def _manifests(stage: OnStage) -> list[Manifest]:
    """Return the example's objects, told where this broker is, and its administrator's Secrets."""
    manifests: list[Manifest] = list(yaml.safe_load_all(stage.example.read_text()))
    for manifest in manifests:
        if manifest["kind"] == "MessageBroker":
            _tell(manifest["spec"], stage.described)
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": BROKER.namespace},
            "stringData": dict(data),
        }
        for name, data in stage.secrets.items()
    ]
    return [manifests[0], *secrets, *manifests[1:]]


def _tell(spec: dict[str, Any], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if isinstance(value, Mapping):
            _tell(spec[name], value)
        else:
            spec[name] = value


def _mount(directory: Path) -> Mount:
    return Mount(Place(CHECKOUT.namespace, directory.name), directory)


def _once_told(identity: Path) -> str:
    """Return what is wrong with what fulfilment is told of messages, once it can have been told."""
    deadline = time.monotonic() + SECONDS
    while (fault := misjudged(identity)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return fault
