"""Invalid input from users and from the API server about webhooks during a run."""

import json

from tests import builders
from tests.cluster.stage import IDENTITY
from tests.cluster.webhooks.shop import KIND
from tests.leaks.acts import MISLAID, in_a_secret, ours, unlike
from tests.leaks.hooks import GATEWAY, Hooks
from tests.leaks.run import CONSOLE
from tests.webhook_builders import endpoint
from tests.webhooks.gateway.attacks.scene import document
from troth.documents.webhook_endpoint import GATEWAY_LABEL
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY
from troth.world.observation.webhook_secrets import GIVEN_LABEL


async def configurations_are_malformed(hooks: Hooks) -> None:
    """Put secrets in place of names, in compiled Secrets and beside them; the operator restores
    them.
    """
    person = hooks.stage.person
    key = await hooks.key("orders")
    text = key.decode()
    place = Ref(hooks.gates, "shop.lost")
    usual = json.loads(document("lost"))
    target = usual["target"]
    for data in (
        {"endpoint.json": key},
        {"endpoint.json": MISLAID},
        {"endpoint.json": json.dumps({**usual, text: 1}).encode()},
        {"endpoint.json": json.dumps({**usual, "source": {"cidrs": [text]}}).encode()},
        {"endpoint.json": json.dumps({**usual, "target": {**target, text: 1}}).encode()},
        {
            "endpoint.json": json.dumps(
                {**usual, "target": {**target, "spiffeID": f"spiffe://{text}"}}
            ).encode()
        },
        {"endpoint.json": json.dumps({**usual, "endpoint": text, "path": f"/{text}"}).encode()},
        {"endpoint.json": document("lost"), "key.k1": MISLAID},
        {"endpoint.json": document("lost"), "key.k1": key[:-9]},
        {"endpoint.json": document("lost"), "key.k1": key + b"\n" + key},
    ):
        metadata = {"name": place.name, "namespace": place.namespace}
        labels = {GATEWAY_LABEL: GATEWAY, MANAGED_BY: "troth"}
        secret = {"apiVersion": "v1", "kind": "Secret", "data": in_a_secret(data)}
        written = await person.put({**secret, "metadata": {**metadata, "labels": labels}})
        for number in range(2):
            await hooks.tells(written["metadata"]["resourceVersion"], of=number)
        assert "unreadable" in hooks.gateways[0].output
    await hooks.scrape()
    await person.delete("Secret", place)
    for mine in ({"key.mine": MISLAID}, {"endpoint.json": MISLAID}, {"key.k1": key[:-9]}):
        given = in_a_secret(mine)
        await person.edit("Secret", hooks.compiled("orders"), {"data": given})
        await person.sees("Secret", hooks.compiled("orders"), unlike(given))
    await hooks.work()


async def keys_are_mislaid(hooks: Hooks) -> None:
    """Misplace keys of senders and the gateways' signing key, and create foreign Secrets."""
    person, shop = hooks.stage.person, hooks.stage.shop
    good = (await person.the("Secret", Ref(shop, "charges")))["data"]
    charges = Ref(shop, "charges")
    for bad in (MISLAID, b"too short a key", MISLAID[:-60]):
        await person.edit("Secret", charges, {"data": in_a_secret({"main": bad})})
        await person.hears(KIND, charges, "SecretAvailable", "KeyUnusable", "False")
        await person.edit("Secret", charges, {"data": good})
        await person.ready(KIND, charges)
    for given, reason, status in ((None, "SecretMissing", "False"), ("true", "Available", "True")):
        labels = {"metadata": {"labels": {GIVEN_LABEL: given}}}
        await person.edit("Secret", charges, labels)
        await person.hears(KIND, charges, "SecretAvailable", reason, status)
    for name in ("strange", "yours"):
        strange = builders.secret(f"{name}-webhook", shop, k1=MISLAID, other=b"\xff" * 20)
        strange["metadata"]["labels"] = ours(name) if name == "yours" else {}
        await person.put(strange)
        await person.put(hooks.through(endpoint(name, shop)))
        await person.hears(KIND, Ref(shop, name), "SecretAvailable", "Conflict", "False")
    for name, bad in (("retiring.jwk", MISLAID), ("key.pem", MISLAID[:-60]), ("key.pem", MISLAID)):
        await person.edit("Secret", hooks.signing, {"data": in_a_secret({name: bad})})
    gateway = Ref(hooks.gates, GATEWAY)
    await person.hears(IDENTITY, gateway, "WebhooksSigned", "TokenKeyUnreadable", "False")
    await hooks.tells("key.pem is not a key")
    await person.delete("Secret", hooks.signing)
    await person.hears(IDENTITY, gateway, "WebhooksSigned", "Active", "True")
    await hooks.work()


async def refusals_quote(hooks: Hooks) -> None:
    """Reject every write of a Secret, a status or an Event with a message that quotes it."""
    person, shop, wire = hooks.stage.person, hooks.stage.shop, hooks.run.wire
    for code in (403, 422):
        wire.path.always("PATCH", "secrets", wire.echo(code))
        wire.path.once("PATCH", "webhookendpoints", wire.echo(code))
        wire.path.always("POST", "events", wire.echo(code))
        late = Ref(shop, f"late-{code}")
        await person.put(hooks.through(endpoint(late.name, shop)))
        await person.hears(KIND, late, "SecretAvailable", "WriteRefused", "False")
        await person.edit("Secret", hooks.compiled("pushes"), {"data": in_a_secret({"x": MISLAID})})
        await person.hears(KIND, Ref(shop, "pushes"), "GatewayConfigured", "WriteRefused", "False")
        wire.be_well()
        for ref in (late, Ref(shop, "pushes")):
            await person.ready(KIND, ref)
    for fault in (wire.echo(500), wire.echo(410), wire.echo(403)):
        hooks.path.once("WATCH", "secrets", fault)
        hooks.path.once("GET", "secrets", wire.echo(500))
        hooks.path.cut("secrets")
    await hooks.tells("watch failed", of=1)


async def gateways_are_started_wrongly(hooks: Hooks) -> None:
    """Start gateways with files of the wrong content."""
    folder = hooks.run.files.parent / "faulty"
    folder.mkdir()
    (folder / "url").write_text(hooks.store.url.replace("valkey://", "valkey:/") + "?db=x&y")
    (folder / "pem").write_bytes(MISLAID)
    (folder / "other").write_text(hooks.store.url.replace("valkey://:", "valkey://:a"))
    tls = folder / "tls"
    tls.mkdir()
    for name in ("tls.crt", "tls.key"):
        (tls / name).write_bytes(MISLAID)
    for option in (f"--valkey={folder / 'url'}", f"--valkey={folder / 'pem'}", f"--tls={tls}"):
        assert await hooks.start(CONSOLE, hooks.kubeconfig, option).ended() == 2
    stranger = hooks.start(CONSOLE, hooks.kubeconfig, f"--valkey={folder / 'other'}")
    await stranger.ready()
    number = len(hooks.gateways) - 1
    assert await hooks.send(await hooks.signed("orders"), by=number) == 503
    stranger.stop()


async def a_watch_makes_no_sense(hooks: Hooks) -> None:
    """Send malformed events; the gateways log them and continue until they are stopped."""
    hooks.path.always("WATCH", "secrets", hooks.run.wire.nonsense_watched)
    hooks.path.cut("secrets")
    await hooks.tells("MalformedEvent", of=1)
    for gateway in hooks.gateways[:2]:
        gateway.stop()
