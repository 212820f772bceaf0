"""Connections between pods while labels, identities, domains and operators change.

Nothing is ever open that is allowed neither before nor after a change.
"""

from typing import Any

import pytest
from cryptography import x509

from tests import builders
from tests.cluster.person import LONG, Manifest, until
from tests.cluster.stage import IDENTITY, Stage, leaf_of
from tests.truth.scene import Player, Scene, files_of
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

REJECTED = "network rejected"
NOT_GRANTED = 'scope "refund" is not granted'
NOT_A_PEER = "handshake by server: bad certificate"
NOT_ANY_MORE = "handshake by server: not accepted"
UNDECLARED = "handshake by client: undeclared"
UNKNOWN_ROOT = "handshake by server: unknown certificate authority"


async def shop(stage: Stage, **domain: Any) -> Scene:
    """Declare that web calls payments and search, and payments calls ledger; add two strangers."""
    await stage.domain(federatesWith=[], **domain)
    await stage.run()
    web = await stage.identity("web", calls=[builders.call("payments"), builders.call("search")])
    payments = await stage.identity(
        "payments",
        ports=["https"],
        accepts=[builders.accept("web", scopes=["charge"])],
        calls=[builders.call("ledger")],
    )
    ledger = await stage.identity(
        "ledger", ports=["https"], accepts=[builders.accept("payments", scopes=["book"])]
    )
    search = await stage.identity("search", ports=["https"], accepts=[builders.accept("web")])
    identities = (web, payments, ledger, search)
    for identity in identities:
        await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    scene = Scene(stage)
    await scene.enter(
        *map(Player.of, identities),
        Player(stage.shop, "stranger", {"app": "unknown"}),
        Player(await stage.namespace(label="none"), "foreigner", {"app": "web"}),
    )
    return scene


@pytest.mark.long
async def test_pod_has_the_edges_of_an_identity_while_it_has_its_labels(
    stage: Stage,
) -> None:
    scene = await shop(stage)
    await scene.enter(Player(stage.shop, "spare", {"app": "retired"}, identity="payments"))
    without = await scene.as_declared()
    assert await scene.call("spare", "ledger") == REJECTED
    assert await scene.call("web", "spare") == REJECTED
    assert await scene.connect("stranger", "spare") == "answered"

    async with scene.nothing_else_opens():
        await scene.relabel("spare", app="payments")
    assert await scene.call("spare", "ledger", scope="book") == "answered"
    assert await scene.call("web", "spare", scope="charge") == "answered"
    assert await scene.call("web", "spare", scope="refund") == NOT_GRANTED
    for one, other in (("stranger", "spare"), ("spare", "stranger"), ("spare", "search")):
        assert await scene.connect(one, other) == REJECTED

    async with scene.nothing_else_opens():
        await scene.relabel("spare", app="retired")
    assert await scene.reach() == without
    assert await scene.call("spare", "ledger") == REJECTED
    assert await scene.call("web", "spare") == REJECTED


async def test_isolated_namespace_denies_pods_that_no_identity_selects(stage: Stage) -> None:
    beyond = await stage.namespace(label="none")
    resolver = {"namespace": beyond, "podSelector": {"matchLabels": {"app": "dns"}}, "port": 8443}
    scene = await shop(stage, isolation="Namespace", network={"dns": resolver})
    await scene.enter(
        Player(beyond, "dns", {"app": "dns"}),
        Player(stage.shop, "spare", {"app": "payments"}, identity="payments"),
    )
    await scene.as_declared()
    for source, destination in (("stranger", "payments"), ("stranger", "web"), ("web", "stranger")):
        assert await scene.connect(source, destination) == REJECTED
    assert await scene.connect("foreigner", "stranger") == REJECTED
    assert await scene.connect("stranger", "dns") == "answered"
    assert await scene.call("web", "spare", scope="charge") == "answered"

    async with scene.nothing_else_opens():  # a pod that sheds its labels
        await scene.relabel("spare", app="retired")
    for other in ("foreigner", "stranger", "web", "ledger"):
        assert await scene.connect(other, "spare") == REJECTED
        assert await scene.connect("spare", other) == REJECTED

    search = Ref(stage.shop, "search")
    async with scene.nothing_else_opens():  # the pods of a deleted identity
        await stage.person.delete(IDENTITY, search)
        await stage.person.misses("NetworkPolicy", policy_ref(search))
    assert await scene.connect("stranger", "search") == REJECTED
    assert await scene.connect("foreigner", "search") == REJECTED
    assert await scene.connect("search", "foreigner") == REJECTED


@pytest.mark.long
async def test_namespace_that_changes_environment_moves_its_edges_and_names(
    stage: Stage,
) -> None:
    other = f"{stage.name}-other"
    there = {"namespaceSelector": {"matchLabels": {"domain": other}}, "federatesWith": []}
    await stage.domain(federatesWith=[])
    await stage.domain("-other", domain=f"{other}.example", environment=other, **there)
    moving, beyond = await stage.namespace(), await stage.namespace(label=other)
    await stage.run()

    def peers(*places: Ref) -> dict[str, list[dict[str, object]]]:
        accepts = [
            builders.accept(place.name, namespace=place.namespace, scopes=["charge"])
            for place in places
        ]
        calls = [builders.call(place.name, namespace=place.namespace) for place in places]
        return {"accepts": accepts, "calls": calls}

    old, neighbour = Ref(stage.shop, "old"), Ref(stage.shop, "neighbour")
    mover, new = Ref(moving, "mover"), Ref(beyond, "new")
    for identity, declared in (
        (old, peers(mover, neighbour)),
        (neighbour, peers(old)),
        (mover, peers(old, new)),
        (new, peers(mover)),
    ):
        await stage.identity(identity.name, identity.namespace, ports=["https"], **declared)
        await stage.person.ready(IDENTITY, identity)
    await stage.settled()
    scene = Scene(stage)
    await scene.enter(
        *map(Player.of, (old, neighbour, mover, new)),
        Player(moving, "stranger", {"app": "unknown"}),
    )

    await scene.as_declared()
    before = await stage.secret(mover)
    for caller, callee in (("old", "mover"), ("mover", "old"), ("old", "neighbour")):
        assert await scene.call(caller, callee, scope="charge") == "answered"
        assert await scene.hold(caller, callee) == "answered"
    for caller, callee in (("new", "mover"), ("mover", "new")):
        assert await scene.call(caller, callee, expect=f"{callee}, whoever that is") == REJECTED

    async with scene.nothing_else_opens():
        await stage.person.edit(
            "Namespace", Ref("", moving), {"metadata": {"labels": {"domain": other}}}
        )
        await stage.person.hears(IDENTITY, mover, "PeersAgree", "EnvironmentNotAllowed", "False")
    for caller, callee in (("new", "mover"), ("mover", "new")):
        assert await scene.call(caller, callee, scope="charge") == "answered"
        assert await scene.call(caller, callee, scope="refund") == NOT_GRANTED
    assert await scene.connect("old", "mover") == REJECTED
    assert await scene.connect("mover", "old") == REJECTED
    assert await scene.call("old", "neighbour", scope="charge") == "answered"

    after = await stage.secret(mover)
    named = [f"spiffe://{domain}.example/ns/{moving}/sa/mover" for domain in (stage.name, other)]
    assert [leaf_names(before), leaf_names(after)] == [[name] for name in named]
    assert before["data"]["tls.key"] != after["data"]["tls.key"]
    then = files_of(before)
    old_certificate = {name: then[name] for name in ("tls.crt", "tls.key")}
    old_peers = {name: then[name] for name in ("ca.crt", "identity.json")}
    async with scene.unfiltered():
        assert await scene.call("old", "mover") == UNDECLARED
        assert await scene.call("mover", "old") == UNDECLARED
        assert await scene.call("mover", "old", present=then) == NOT_A_PEER
        assert await scene.call("mover", "old", present=old_peers) == UNKNOWN_ROOT
        assert await scene.call("mover", "new", present=old_certificate) == UNKNOWN_ROOT
    assert await scene.again("mover", "old") == NOT_ANY_MORE
    assert await scene.again("old", "mover") == NOT_ANY_MORE
    assert await scene.again("old", "neighbour") == "answered"


@pytest.mark.long
async def test_pods_that_start_and_end_without_the_operator_have_their_edges(
    stage: Stage,
) -> None:
    scene = await shop(stage)
    await scene.as_declared()
    before = await stage.written()
    await stage.operator.stop()

    await scene.enter(
        Player.of(Ref(stage.shop, "payments"), "late"),
        Player(stage.shop, "late-stranger", {"app": "unheard-of"}),
    )
    await scene.as_declared()
    assert await scene.call("web", "late", scope="charge") == "answered"
    assert await scene.call("web", "late", scope="refund") == NOT_GRANTED
    assert await scene.call("late", "ledger", scope="book") == "answered"
    assert await scene.connect("late-stranger", "late") == REJECTED

    address = await scene.leave("late")
    # the address is free once nothing reaches it
    await until(lambda: scene.connect_to("stranger", address), lambda seen: seen == REJECTED)
    heir = await scene.enter_outsider(address)
    assert await scene.connect_to("stranger", address) == "answered"
    assert await scene.connect_to("web", address) == REJECTED
    assert await scene.connect(heir, "ledger") == REJECTED
    assert await scene.connect(heir, "stranger") == "answered"
    await scene.as_declared()

    again = await stage.run()
    await stage.look_again()
    assert again.requests.writes.total() == again.requests.events == 0
    assert await stage.written() == before
    await scene.as_declared()


async def test_deleted_identity_is_no_peer_and_its_pods_are_unrestricted(
    stage: Stage,
) -> None:
    """Its policy is deleted with it: peers close to its pods, but pods without a policy are open.

    Packets of an open connection still pass; the next request checks the peer's identity.
    """
    scene = await shop(stage)
    payments = Ref(stage.shop, "payments")
    await scene.as_declared()
    assert await scene.connect("stranger", "payments") == REJECTED
    for caller, callee in (("web", "payments"), ("payments", "ledger"), ("web", "search")):
        assert await scene.hold(caller, callee) == "answered"

    async with scene.nothing_else_opens():
        await stage.person.delete(IDENTITY, payments)
        for kind, ref in (("Secret", secret_ref), ("NetworkPolicy", policy_ref)):
            await stage.person.misses(kind, ref(payments), LONG)
    assert await scene.connect("web", "payments") == REJECTED
    assert await scene.connect("payments", "ledger") == REJECTED
    assert await scene.connect("stranger", "payments") == "answered"
    assert await scene.call("web", "search") == "answered"

    async with scene.unfiltered():
        assert await scene.call("web", "payments") == UNDECLARED
        assert await scene.call("payments", "ledger") == NOT_A_PEER
        assert await scene.call("web", "search") == "answered"

    # payments still has its old files, and uses them
    assert await scene.again("web", "payments") == "answered"
    assert await scene.again("payments", "ledger") == NOT_ANY_MORE
    assert await scene.again("web", "search") == "answered"


def leaf_names(secret: Manifest) -> list[str]:
    """Return the URIs in an identity's certificate."""
    names = leaf_of(secret).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)
