"""Twenty services in a trust domain of their own; each calls the next continuously."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import yaml

from sandbox.demo.cluster import Cluster
from sandbox.demo.shop import Manifest, Place, Shop
from sandbox.node.manifests import workload_pod
from sandbox.node.traffic import Traffic
from sandbox.node.workload import Files, Outcome, Target

NAME = "fleet"
SERVICES, NAMESPACES = 20, 4
PROPAGATION = timedelta(seconds=5)
RATE = 11.0
"""Calls per second by each service: 220 in total."""

PART_OF = {"app.kubernetes.io/part-of": NAME}
OURS = ("--all-namespaces", "--selector", f"app.kubernetes.io/part-of={NAME}")
PORT = ("https", 8443)
SECONDS = 60
SHOWN = ("tls.crt", "tls.key")
"""The files that a service presents."""


class Fleet:
    """The pods of the services, and the calls between them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._node = cluster.sandbox.node
        self._next = dict(_pairs())
        self._targets: dict[Place, Target] = {}

    def start(self, shop: Shop) -> None:
        """Declare the services beside the shop's and start their pods.

        Raises `DemoError` or `CommandError` if that takes too long.
        """
        kubectl = self._cluster.sandbox.kubectl
        declared = tuple(_declared())
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(declared))
        self._cluster.settled(Shop((*shop.manifests, *declared)), lambda _part, _whole: None)
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(map(_pod, self._next)))
        kubectl("wait", "pods", *OURS, "--for=condition=Ready", f"--timeout={SECONDS}s")
        self._node.caught_up()
        port, number = PORT
        for pod in self._cluster.items("pods", *OURS):
            address = f"{pod['status']['podIP']}:{number}"
            place = Place.of(pod)
            self._targets[place] = Target(address, port, service=str(place))

    def traffic(self) -> Traffic:
        """Return the calls of each service to the next."""
        calls = {str(caller): [self._targets[callee]] for caller, callee in self._next.items()}
        return Traffic(self._node, calls, rate=RATE)

    def certificates(self) -> dict[Place, Files]:
        """Return the current certificate and key of each service."""
        secrets = self._cluster.secrets()
        return {place: {name: secrets[place][name] for name in SHOWN} for place in self._next}

    def call(self, shown: Mapping[Place, Files]) -> list[Outcome]:
        """Have each service call the next once and present another certificate than its own."""
        return [
            self._node.workload(str(caller)).call([self._targets[callee]], present=shown[caller])[0]
            for caller, callee in self._next.items()
        ]


def _place(number: int) -> Place:
    return Place(f"{NAME}-{number % NAMESPACES + 1}", f"service-{number % SERVICES + 1}")


def _pairs() -> Iterator[tuple[Place, Place]]:
    for number in range(SERVICES):
        yield _place(number), _place(number + 1)


def _declared() -> Iterator[Manifest]:
    labels = {NAME: "true"}
    for number in range(NAMESPACES):
        metadata = {"name": _place(number).namespace, "labels": labels}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    yield {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": NAME},
        "spec": {
            "domain": f"{NAME}.shop.example",
            "environment": NAME,
            "namespaceSelector": {"matchLabels": labels},
            "authority": {"selfManaged": {}},
            "bundle": {"propagation": f"{PROPAGATION.seconds}s"},
        },
    }
    for number in range(SERVICES):
        before, place, after = (_place(SERVICES + number + step) for step in (-1, 0, 1))
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(place)}
        yield _identity(place, before, after)


def _identity(place: Place, before: Place, after: Place) -> Manifest:
    port, number = PORT
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": _metadata(place),
        "spec": {
            "workload": {
                "serviceAccountName": place.name,
                "podSelector": {"matchLabels": {"app": place.name}},
                "ports": [{"name": port, "port": number}],
            },
            "authentication": {"mtls": {}},
            "accepts": [{"from": before._asdict(), "ports": [port]}],
            "calls": [{"to": after._asdict(), "ports": [port]}],
        },
    }


def _metadata(place: Place) -> Manifest:
    return {**place._asdict(), "labels": PART_OF}


def _pod(place: Place) -> Manifest:
    return workload_pod(
        *place,
        labels={"app": place.name, **PART_OF},
        ports=dict([PORT]),
        identity=f"{place.name}-identity",
        service_account=place.name,
    )
