"""The acts of a round, one at a time.

web -> payments -> ledger      consented, except that ledger does not accept web reports -> payments
consented, and live only while the annex is governed
"""

from datetime import timedelta
from typing import Any

from tests import builders
from tests.builders import accept, call, stamp
from tests.cluster.crashes.places import ANNEX, PLACES, SOUTH
from tests.cluster.crashes.play import Play
from tests.cluster.person import LONG, Manifest
from tests.cluster.stage import DOMAIN, IDENTITY
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

SECOND = timedelta(seconds=1)
STEPS = 20
"""Limit of a root rotation in propagation delays, though each operator waits from the start."""


def declared(play: Play, *, changed: bool = False, tokens: bool = False) -> list[Manifest]:
    """Return the identities before or after the change, or with tokens for the ledger."""
    scopes: dict[str, Any] = {"scopes": ["ledger.post"]} if tokens else {}
    _, north, south, annex = play.stage.namespaces
    mtls: dict[str, Any] = {"keystores": ["PKCS12"]}
    if changed:
        mtls["dnsNames"] = ["pay.shop.example"]
    return [
        builders.identity(
            "web",
            north,
            calls=[
                call("ledger", namespace=south),
                *([] if changed else [call("payments", namespace=south)]),
            ],
        ),
        builders.identity(
            "payments",
            south,
            ports=["https"],
            accepts=[accept("web", namespace=north), accept("reports", namespace=annex)],
            calls=[call("ledger", **scopes), builders.external("203.0.113.0/24")],
            authentication={"mtls": mtls},
        ),
        builders.identity(
            "ledger",
            south,
            ports=[("https", 9443 if changed else 8443)],
            accepts=[accept("payments", **scopes)],
            authentication={"token": {}} if tokens else {"mtls": {}},
        ),
        builders.identity("reports", annex, calls=[call("payments", namespace=south)]),
    ]


async def label_annex(play: Play, label: str) -> None:
    annex = play.stage.namespaces[ANNEX]
    await play.stage.person.put(builders.namespace(annex, domain=label))


async def create(play: Play) -> None:
    await _declare_domain(play)
    await play.stage.person.put(*declared(play))


async def _declare_domain(play: Play, **more: Any) -> None:
    await play.stage.domain(
        bundle={"propagation": f"{play.operator.propagation.seconds}s"},
        certificates={"dnsNames": [builders.dns_suffix()]},
        **more,
    )


async def begin_tokens(play: Play) -> None:
    """Let the domain issue tokens and the ledger require one."""
    await _declare_domain(play, tokens={})
    await play.stage.person.put(*declared(play, tokens=True))


async def end_tokens(play: Play) -> None:
    """Remove the tokens: nothing of them is left."""
    await create(play)


async def rotate_keys(play: Play) -> None:
    """Rotate the token signing key and, with it, the root."""
    before = await _authorities(play), await _token_keys(play)
    await _request(play, DOMAIN, play.stage.name, play.stage.own)
    for _ in range(STEPS):
        await play.operator.live(play.operator.propagation)
        await play.calm()
        now = await _authorities(play), await _token_keys(play)
        if all(len(new) == 1 and new != old for old, new in zip(before, now, strict=True)):
            return
    raise AssertionError("the keys are not replaced")


async def change(play: Play) -> None:
    """Remove a call, move a port, add a DNS name, and let the annex join."""
    await play.stage.person.put(*declared(play, changed=True))
    await label_annex(play, play.stage.name)


async def change_back(play: Play) -> None:
    await play.stage.person.put(*declared(play))
    await label_annex(play, "nobody")


async def rotate_leaf(play: Play) -> None:
    await _request(play, IDENTITY, "payments", play.stage.namespaces[SOUTH])
    await play.operator.live(SECOND)


async def rotate_root(play: Play) -> None:
    (old,) = await _authorities(play)
    await _request(play, DOMAIN, play.stage.name, play.stage.own)
    for _ in range(STEPS):
        await play.operator.live(play.operator.propagation)
        await play.calm()
        if len(found := await _authorities(play)) == 1 and found != [old]:
            return
    raise AssertionError("the root is not replaced")


async def _request(play: Play, kind: str, name: str, namespace: str) -> None:
    moment = stamp(play.operator.now() + SECOND)
    await play.stage.person.put(builders.rotation(kind, name, namespace, requestedAt=moment))


async def _authorities(play: Play) -> list[str]:
    status = (await play.stage.person.the(DOMAIN, Ref("", play.stage.name)))["status"]
    return [each["fingerprint"] for each in status["authorities"]]


async def _token_keys(play: Play) -> list[str]:
    status = (await play.stage.person.the(DOMAIN, Ref("", play.stage.name)))["status"]
    return [each["fingerprint"] for each in status["tokenKeys"]]


async def delete_identity(play: Play) -> None:
    await _delete_identities(play, "ledger")


async def delete_domain(play: Play) -> None:
    await play.stage.person.delete(DOMAIN, Ref("", play.stage.name))


async def clear(play: Play) -> None:
    """Delete the rest, and the root's Secret, which outlives its trust domain."""
    await _delete_identities(play, *(name for name, _ in PLACES))
    authority = Ref(play.stage.own, f"{play.stage.name}-authority")
    await play.stage.person.delete("Secret", authority)


async def _delete_identities(play: Play, *names: str) -> None:
    person = play.stage.person
    places = [Ref(play.stage.namespaces[at], name) for name, at in PLACES if name in names]
    for ref in places:
        await person.delete(IDENTITY, ref)
    for ref in places:  # the garbage collector's work
        await person.misses("Secret", secret_ref(ref), LONG)
        await person.misses("NetworkPolicy", policy_ref(ref), LONG)
