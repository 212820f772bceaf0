"""Actions and faults with webhooks during a run."""

import asyncio
import base64
import secrets
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tests import builders
from tests.builders import stamp
from tests.cli.webhooks import troth
from tests.cluster.person import LONG, until
from tests.cluster.webhooks.shop import KIND, as_served
from tests.leaks.acts import MISLAID
from tests.leaks.hooks import GATEWAY, Hooks
from tests.patience import PATIENCE
from tests.webhook_builders import endpoint, keys
from troth.cli.webhook.curl import write_curl
from troth.cli.webhook.render import raw
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.webhooks.schemes.delivery import Delivery
from troth.world.observation.webhook_secrets import generated_ref

MADE = {"orders": "StandardWebhooks", "pushes": "GitHub", "merges": "GitLabToken"}
"""Endpoints whose keys Troth generates."""
ISSUED = {"charges": "Stripe", "calls": "Twilio", "transfers": "HTTPSignatures"}
"""Endpoints whose keys the sender issues, each with a Secret of its name."""
NAMES = (*MADE, *ISSUED)
TIMED = ("orders", "charges", "transfers")
"""Endpoints of schemes that sign a timestamp."""


def issued_key(scheme: str) -> str:
    """Return a key as a sender issues it."""
    if scheme == "HTTPSignatures":
        return f"hmac-sha256:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return f"whsec_{secrets.token_hex(24)}" if scheme == "Stripe" else secrets.token_hex(16)


async def endpoints_are_declared(hooks: Hooks) -> None:
    """Create one endpoint of each scheme, with generated and with issued keys."""
    person, shop = hooks.stage.person, hooks.stage.shop
    until_ = format_time(datetime.now(UTC).replace(microsecond=0) + timedelta(days=30))
    unsigned = {"owner": "team source control", "reason": "an old server", "expiresAt": until_}
    for name, scheme in MADE.items():
        more = {"acceptUnsigned": unsigned} if scheme == "GitLabToken" else {}
        await person.put(hooks.through(endpoint(name, shop, scheme, **more)))
    for name, scheme in ISSUED.items():
        await person.put(keys(name, shop, main=issued_key(scheme)))
        await person.put(hooks.through(endpoint(name, shop, scheme, secretRef={"name": name})))
    for name in NAMES:
        await person.ready(KIND, Ref(shop, name))
        version = (await person.the("Secret", hooks.compiled(name)))["metadata"]["resourceVersion"]
        for number in range(2):
            await hooks.tells(version, of=number)


async def deliveries_come(hooks: Hooks) -> None:
    """Send valid deliveries, each first to one gateway and again to the other."""
    for name in NAMES:
        for by in range(2):
            good = await hooks.signed(name)
            assert await hooks.send(good, by=by) == 200, hooks.gateways[by].output[-600:]
            assert await hooks.send(good, by=1 - by) == 200


async def deliveries_are_refused(hooks: Hooks) -> None:
    """Send changed, old, unsigned and malformed deliveries."""
    for name in NAMES:
        good = await hooks.signed(name)
        changed = replace(good, body=good.body.replace(b'"card"', b'"Card"'))
        unsigned = replace(good, headers=good.headers[:1])
        long = replace(good, body=good.body + b" " * 1_000_000)
        # GitLabToken does not sign the body, so the gateway accepts a changed one.
        assert await hooks.send(changed) == (200 if name == "merges" else 401)
        assert await hooks.send(unsigned) == 401
        assert await hooks.send(long) == 413
        assert await hooks.send(replace(good, method="PUT")) == 405
        assert await hooks.send(replace(good, target=b"/more" + good.target)) == 404
        for odd in odd_ones(good):
            assert await hooks.send(odd) in (200, 400, 401, 415, 431)
    for name in TIMED:
        for age in (3600, -3600):
            assert await hooks.send(await hooks.signed(name, age=age)) == 401
    broken = raw(await hooks.signed("orders"), "localhost")
    for text in (broken.replace(b"\r\n", b"\n"), broken.replace(b"HTTP/1.1", b"HTTP/1.1 x")):
        hooks.show("what the gateway says of rubbish", await response_to(hooks, text))


def odd_ones(good: Delivery) -> list[Delivery]:
    """Return the delivery with each header truncated, repeated, longer, or in other characters."""
    found = []
    for at, (name, value) in enumerate(good.headers):
        for odd in (value[:-4], value + b"," + value, value + b"\xff", value[::-1], value * 16):
            headers = (*good.headers[:at], (name, odd), *good.headers[at + 1 :])
            found.append(replace(good, headers=headers))
        found.append(replace(good, headers=(*good.headers, (name, value))))
    return found


async def response_to(hooks: Hooks, text: bytes) -> str:
    """Send raw bytes to a gateway; return its response."""
    reader, writer = await asyncio.open_connection(
        "localhost", hooks.gateways[0].port, ssl=hooks.trusting
    )
    writer.write(text)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(65536), PATIENCE)
    writer.close()
    return answer.decode("latin-1")


async def the_target_fails(hooks: Hooks) -> None:
    """Have the target answer with errors that quote the request."""
    for status, heard in ((500, 502), (302, 502), (403, 502), (204, 200)):
        hooks.target.replies.append(status)
        assert await hooks.send(await hooks.signed("orders")) == heard


async def the_store_goes_away(hooks: Hooks) -> None:
    """Stop the replay store while a delivery is at the target, and send more."""
    hooks.target.gate.clear()
    at_target = asyncio.create_task(hooks.send(await hooks.signed("charges")))
    before = len(hooks.target.tokens)
    await until(lambda: taken(hooks), lambda number: number > before)
    await asyncio.to_thread(hooks.store.stop, grace=0)
    try:
        hooks.target.gate.set()
        assert await at_target == 200
        for by in range(2):
            assert await hooks.send(await hooks.signed("orders"), by=by) == 503
        await hooks.scrape()
    finally:
        hooks.target.gate.set()
        await asyncio.to_thread(hooks.store.restart)
    await hooks.tells("accepted deliveries recorded")
    await hooks.work()


async def taken(hooks: Hooks) -> int:
    return len(hooks.target.tokens)


async def a_secret_is_replaced(hooks: Hooks) -> None:
    """Rotate a generated key; both are valid until the sender has signed with the next one."""
    person, shop = hooks.stage.person, hooks.stage.shop
    moment = stamp(datetime.now(UTC) + timedelta(seconds=1))
    await person.put(builders.rotation(KIND, "orders", shop, requestedAt=moment, overlap="1s"))
    await person.sees("Secret", hooks.compiled("orders"), has("k1", "k2"))
    for key in range(2):  # newest first
        await until(partial(by_key, hooks, key), lambda status: status == 200)
    await person.sees("Secret", hooks.compiled("orders"), has("k2"), LONG)
    await person.sees("ConfigMap", Ref(hooks.gates, f"{GATEWAY}-webhook-keys"))


async def by_key(hooks: Hooks, key: int) -> int:
    return await hooks.send(await hooks.signed("orders", key=key))


def has(*ids: str) -> Any:
    """Return a predicate: whether a compiled endpoint has exactly these keys."""
    return lambda secret: set(as_served(secret)) == set(ids)


async def people_debug(hooks: Hooks) -> None:
    """Run `troth webhook` with valid and other keys, and with intact and broken deliveries."""
    folder = hooks.run.files.parent / "debugging"
    folder.mkdir()
    (folder / "plain").write_text('{"id": "evt_plain"}')
    for name, scheme in (MADE | ISSUED).items():
        url = (await hooks.served(name)).endpoint.signing.url
        text, good = await hooks.key(name), await hooks.signed(name)
        files = {
            "good": text,
            "other": issued_key(scheme).encode(),
            "pem": MISLAID,
            "lines": text + b"\nand another line",
            "asked": raw(good, "hooks.example"),
            "line": write_curl(good, url).encode(),
            "broken": raw(good, "hooks.example").replace(b": ", b" ", 3),
            "changed": raw(replace(good, body=good.body + b" "), "hooks.example"),
        }
        at = {file: folder / f"{name}.{file}" for file in files}
        for file, content in files.items():
            at[file].write_bytes(content)
        how = ("--scheme", scheme, "--url", url, "--key")
        for asked in ("asked", "line", "changed", "broken", "good"):
            await says(hooks, "verify", str(at[asked]), *how, f"k1={at['good']}")
        for key in (text.decode(), *(str(at[file]) for file in ("other", "pem", "lines"))):
            await says(hooks, "verify", str(at["asked"]), *how, key, "-o", "json")
        # GitLabToken sends its key as the signature.
        for key in ("pem", "lines", "asked", *(("good",) if scheme != "GitLabToken" else ())):
            body = ("--body", str(folder / "plain"))
            await says(hooks, "sign", *how, str(at[key]), *body, "-o", "json")
    for output in ("text", "json"):
        assert (await hooks.run.ask("status", "-A", "-o", output)).code == 0


async def says(hooks: Hooks, *arguments: str) -> None:
    """Run `troth webhook` and record its output or its error."""
    result = troth(*arguments)
    trace = traceback.format_exception(result.exception) if result.exception else ()
    hooks.show("troth webhook", result.output, str(result.exception), *trace)
    await asyncio.sleep(0)  # let other tasks run


async def everything_goes(hooks: Hooks) -> None:
    """Delete the endpoints, and wait until their owned objects are gone."""
    person, shop = hooks.stage.person, hooks.stage.shop
    last = await hooks.signed("orders")
    await person.delete(KIND, Ref(shop, ""))
    for name in NAMES:
        await person.misses("Secret", hooks.compiled(name))
    for name in MADE:
        await person.misses("Secret", generated_ref(Ref(shop, name)), LONG)
    await until(lambda: hooks.send(last), lambda status: status == 404)
    await hooks.scrape()
