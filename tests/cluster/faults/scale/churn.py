"""Users that declare, change, rotate and delete everything, again and again.

Each round uses names of its own, and leaves nothing: what the operator then still holds, it holds
for ever.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tests import builders, messaging
from tests.broker_builders import publisher, subscriber
from tests.builders import Manifest, accept, call, stamp
from tests.webhook_builders import endpoint

GATE, HOOKS = "gate", "hooks"


def declared(
    space: str, owner: str, domain: str, *policies: str, changed: bool = False
) -> Iterator[Manifest]:
    """Yield the declarations of a round, before or after users changed them.

    `owner` is the namespace of the broker `main`. `policies` are others for the publisher.
    """
    yield builders.identity(
        "web",
        space,
        calls=[call("payments", scopes=["charge"]), builders.external("203.0.113.0/24")],
    )
    yield builders.identity(
        "payments",
        space,
        ports=["https", (HOOKS, 9443)],
        accepts=[] if changed else [accept("web", scopes=["charge"]), accept(GATE, HOOKS)],
        authentication={"token": {}},
    )
    yield builders.identity("ledger", space, authentication={"mtls": {"keystores": ["PKCS12"]}})
    served = {"matchLabels": {"kubernetes.io/metadata.name": space}}
    yield builders.identity(
        GATE,
        space,
        calls=[],
        servesWebhooks={"allowedNamespaces": served},
    )
    yield endpoint(
        "orders",
        space,
        gateway={"namespace": space, "name": GATE},
        tolerance="30s" if changed else "5m",
        target={
            "identity": {"name": "payments"},
            "port": HOOKS,
            "path": "/hooks",
            "workflow": "settle",
        },
    )
    yield publisher("checkout", "sales", *policies, namespace=space)
    yield subscriber("fulfilment", "sales", namespace=space)
    yield messaging.policy(
        "sales",
        space,
        at=(owner, "main"),
        environment=domain,
        topic={"name": f"prod.{space}"},
        producers=[messaging.producer("checkout")],
        consumers=[] if changed else [messaging.consumer("fulfilment", "fulfilment")],
    )


def unusual(space: str, domain: str) -> Iterator[Manifest]:
    """Yield a broker and a trust domain of the round, and resources that cannot be read."""
    yield builders.identity("broken", space) | {"spec": {"workload": {}}}
    yield endpoint("broken", space) | {"spec": {"inbound": {}}}
    yield builders.secret("kafka-admin", space, username=b"troth", password=b"admin")
    yield builders.secret("kafka-ca", space)
    yield messaging.broker(
        "own", space, environment=domain, owns=[f"{space}."], principals=f"{space}-"
    )
    yield messaging.policy(
        "elsewhere",
        space,
        at=(space, "own"),
        environment=domain,
        topic={"name": f"{space}.sales"},
        producers=[messaging.producer("checkout")],
    )
    yield builders.domain(space, environment=domain)


def rotations(space: str, now: datetime) -> Iterator[Manifest]:
    """Yield requests to rotate credentials of the round."""
    moment = stamp(now + timedelta(seconds=1))
    for kind, name in (("ServiceIdentity", "checkout"), ("WebhookEndpoint", "orders")):
        yield builders.rotation(kind, name, space, requestedAt=moment)
