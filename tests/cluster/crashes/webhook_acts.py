"""The acts of a round with webhooks, one at a time.

gate, beside web               the gateway orders, charges -> billing     one endpoint with Troth's
key, one with the sender's
"""

from datetime import timedelta
from typing import Any

from tests import builders
from tests.builders import stamp
from tests.cluster.crashes.places import BILLING, GATE, NORTH, SOUTH
from tests.cluster.crashes.play import Play
from tests.cluster.person import LONG, Manifest
from tests.cluster.stage import IDENTITY
from tests.webhook_builders import ONE, TWO, endpoint, issued, keys, leading
from tests.webhook_scene import HOOKS
from troth.documents.gateway_report import LABEL, member
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.index.webhook_signing import signing_ref
from troth.world.index.webhooks import report_ref
from troth.world.observation.webhook_secrets import generated_ref

SECOND = timedelta(seconds=1)
KIND, ROTATION = "WebhookEndpoint", "CredentialRotation"
ORDERS, CHARGES = "orders", "charges"


def _gate(play: Play) -> Ref:
    return Ref(play.stage.namespaces[NORTH], GATE)


def _of(play: Play, name: str) -> Ref:
    return Ref(play.stage.namespaces[SOUTH], name)


def _endpoints(play: Play, *, changed: bool = False) -> list[Manifest]:
    """Return the endpoints before or after the change."""
    gate = _gate(play)
    common: dict[str, Any] = {
        "namespace": play.stage.namespaces[SOUTH],
        "gateway": {"namespace": gate.namespace, "name": gate.name},
        "tolerance": "30s" if changed else "5m",
        "target": {
            "identity": {"name": BILLING},
            "port": HOOKS,
            "path": "/changed" if changed else "/hooks",
            "workflow": "settle",
        },
    }
    return [endpoint(ORDERS, **common), issued(name=CHARGES, **common)]


def _given(play: Play, **texts: str) -> Manifest:
    return keys(namespace=play.stage.namespaces[SOUTH], **texts)


async def declare_webhooks(play: Play) -> None:
    """Declare a gateway, its target, and two endpoints."""
    gate, billing = _gate(play), _of(play, BILLING)
    accepted = builders.accept(GATE, HOOKS, namespace=gate.namespace)
    service = leading(BILLING, billing.namespace)
    service["spec"]["selector"] = {"app": BILLING}
    served = {"matchLabels": {"kubernetes.io/metadata.name": billing.namespace}}
    await play.stage.person.put(
        _given(play, k1=ONE),
        service,
        builders.identity(GATE, gate.namespace, servesWebhooks={"allowedNamespaces": served}),
        builders.identity(BILLING, billing.namespace, ports=[(HOOKS, 9443)], accepts=[accepted]),
        *_endpoints(play),
    )


async def change_webhooks(play: Play) -> None:
    """Send deliveries to another path, and replace a sender's key."""
    await play.stage.person.put(_given(play, k2=TWO), *_endpoints(play, changed=True))


async def rotate_webhook_key(play: Play) -> None:
    """Rotate the secret that Troth generated; the sender switches to the next one."""
    person, orders = play.stage.person, _of(play, ORDERS)
    moment = stamp(play.operator.now() + SECOND)
    await person.put(builders.rotation(KIND, ORDERS, orders.namespace, requestedAt=moment))
    await play.operator.live(SECOND)
    await play.calm()
    assert await _key_ids(play) == {"k1", "k2"}, "the next key is not there"
    place = report_ref(_gate(play))
    await person.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": place.name,
                "namespace": place.namespace,
                "labels": {LABEL: GATE},
            },
            "data": {f"{orders.namespace}.{orders.name}": member({"k2": play.operator.now()})},
        }
    )


async def _key_ids(play: Play) -> set[str]:
    made = await play.stage.person.the("Secret", generated_ref(_of(play, ORDERS)))
    return set(made["data"])


async def delete_webhooks(play: Play) -> None:
    """Delete all except the sender's keys and the Service, which users own."""
    person, gate, billing = play.stage.person, _gate(play), _of(play, BILLING)
    await person.delete(ROTATION, _of(play, f"{ORDERS}-rotation"))
    await person.delete("ConfigMap", report_ref(gate))
    for name in (ORDERS, CHARGES):
        await person.delete(KIND, _of(play, name))
    await play.calm()  # an edge may stay open a moment longer while its policy is narrowed
    for ref in (gate, billing):
        await person.delete(IDENTITY, ref)
    # the garbage collector's work
    await person.misses("Secret", generated_ref(_of(play, ORDERS)), LONG)
    await person.misses("Secret", signing_ref(gate), LONG)
    for ref in (gate, billing):
        await person.misses("Secret", secret_ref(ref), LONG)
        await person.misses("NetworkPolicy", policy_ref(ref), LONG)
