"""The server itself is asked: what is granted works, and what is not granted does not."""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import Ears, Stage, consume, granted, publish, stage, until
from troth.brokers.protocol import Batch, Slot
from troth.planning.nats_rules import inbox_prefix
from troth.trust.grants import Action, Grant

PRINCIPALS = ("shop", "shop.till")
SUBJECTS = ("a", "a.b", "a.b.c", "b", "é.b")
QUEUES = ("", "q", "r")
STREAMS = {"A": ["s.a.>"], "B": ["s.b.>"]}
DURABLES = ("d", "e")

UNSHRUNK = [phase for phase in Phase if phase is not Phase.shrink]
"""Every example takes a second; a failure is short enough as it is found."""

names = st.sampled_from([*SUBJECTS, "a.", "a.b.", "é."])
principals = st.sampled_from(PRINCIPALS)
grants = st.one_of(
    st.builds(publish, principals, names),
    st.builds(consume, principals, names, st.sampled_from(QUEUES)),
    st.builds(
        consume, principals, st.just("s.a.x"), st.sampled_from(DURABLES), st.sampled_from("AB")
    ),
)


class Operation(NamedTuple):
    """Something a principal does: `what` of publish, subscribe, fetch, ack or inbox."""

    principal: str
    what: str
    name: str
    group: str = ""


def expected(granted_: Iterable[Grant]) -> set[Operation]:
    """What a set of grants says, said again without the table that is on trial."""
    operations: set[Operation] = set()
    groups: dict[tuple[str, str], set[str]] = {}
    for grant in granted_:
        named = [
            subject
            for subject in SUBJECTS
            if subject == grant.topic.name
            or (grant.topic.prefix and subject.startswith(grant.topic.name))
        ]
        if grant.stream:
            operations |= {
                Operation(grant.principal, what, grant.stream, grant.group)
                for what in ("fetch", "ack", "info")
            }
        elif grant.action is Action.PUBLISH:
            operations |= {Operation(grant.principal, "publish", name) for name in named}
        else:
            for name in named:
                groups.setdefault((grant.principal, name), set()).add(grant.group)
    for (principal, name), permitted in groups.items():
        # Who names no group may be in any, until one is named.
        joined = QUEUES if permitted == {""} else permitted
        operations |= {Operation(principal, "subscribe", name, queue) for queue in joined}
    return operations


async def succeeding(nats: Stage, witness: Client) -> set[Operation]:
    """What does work, told by who receives what."""
    done: set[Operation] = set()
    for principal in PRINCIPALS:  # one after the other: of a queue group only one member hears
        client = await nats.connect(principal)
        done |= await core(principal, client, witness)
        asked = [
            ask(principal, client, stream, durable)
            for stream in STREAMS
            for durable in DURABLES
            for ask in (fetching, informing)
        ]
        done = done.union(*await asyncio.gather(*asked))
        await client.close()
    return done


async def core(principal: str, client: Client, witness: Client) -> set[Operation]:
    done: set[Operation] = set()
    at_witness, at_client = Ears(witness), Ears(client)
    for subject in SUBJECTS:
        await at_witness.listen(subject)
        for queue in QUEUES:
            await at_client.listen(subject, queue)
    await at_client.settle()
    await at_witness.settle()
    for subject in SUBJECTS:
        await client.publish(subject, principal.encode())
        await witness.publish(subject, b"witness")
    await at_client.settle()
    await at_witness.settle()
    await at_client.settle()
    for (subject, _), heard in at_witness.heard.items():
        if principal.encode() in heard:
            done.add(Operation(principal, "publish", subject))
    for (subject, queue), heard in at_client.heard.items():
        if b"witness" in heard:
            done.add(Operation(principal, "subscribe", subject, queue))
    return done


async def fetching(principal: str, client: Client, stream: str, durable: str) -> set[Operation]:
    done = set()
    subscription = await client.jetstream().pull_subscribe_bind(durable, stream)
    with contextlib.suppress(errors.Error):
        (message,) = await subscription.fetch(1, timeout=0.5)
        done.add(Operation(principal, "fetch", stream, durable))
        await message.ack_sync()
        done.add(Operation(principal, "ack", stream, durable))
    return done


async def informing(principal: str, client: Client, stream: str, durable: str) -> set[Operation]:
    with contextlib.suppress(errors.Error):
        await client.jetstream(timeout=0.5).consumer_info(stream, durable)
        return {Operation(principal, "info", stream, durable)}
    return set()


async def streams(witness: Client) -> None:
    jetstream = witness.jetstream()
    for stream, subjects in STREAMS.items():
        await jetstream.add_stream(name=stream, subjects=subjects, storage="memory")
        for durable in DURABLES:
            await jetstream.add_consumer(stream, ConsumerConfig(durable_name=durable))
        for number in range(4):
            await jetstream.publish(f"s.{stream.lower()}.{number}", b"kept")


@settings(max_examples=8, phases=UNSHRUNK)
@given(st.lists(grants, max_size=6))
def test_exactly_what_is_granted_succeeds(server: NatsServer, wanted: list[Grant]) -> None:
    async def judge() -> None:
        async with stage(server) as nats:
            witness = await nats.witness()
            await streams(witness)
            await nats.give(PRINCIPALS, *wanted)
            assert await succeeding(nats, witness) == expected(wanted)

    asyncio.run(asyncio.wait_for(judge(), 30))


@settings(max_examples=5, phases=UNSHRUNK)
@given(st.lists(grants, max_size=4), st.lists(grants, max_size=4))
def test_exactly_what_is_granted_now_succeeds_whatever_was_before(
    server: NatsServer, before: list[Grant], after: list[Grant]
) -> None:
    async def judge() -> None:
        async with stage(server) as nats:
            witness = await nats.witness()
            await streams(witness)
            await nats.give(PRINCIPALS, *before)
            old, new = set(granted(*before)), set(granted(*after))
            batch = Batch((), tuple(sorted(new - old)), tuple(sorted(old - new)))
            assert not await nats.broker.apply(batch)
            assert await succeeding(nats, witness) == expected(after)

    asyncio.run(asyncio.wait_for(judge(), 30))


async def test_who_has_a_credential_and_no_grant_can_do_nothing(nats: Stage) -> None:
    witness = await nats.witness()
    await streams(witness)
    await nats.give(PRINCIPALS)
    assert await succeeding(nats, witness) == set()


async def test_a_publish_to_a_stream_is_acknowledged(nats: Stage) -> None:
    witness = await nats.witness()
    await streams(witness)
    await nats.give(["shop"], publish("shop", "s.a."))
    client = await nats.connect("shop")
    ack = await client.jetstream(timeout=2).publish("s.a.new", b"order")
    assert ack.stream == "A"


async def test_nobody_reads_anothers_inbox(nats: Stage) -> None:
    witness = await nats.witness()
    await nats.give(PRINCIPALS, *(publish(principal, "ask") for principal in PRINCIPALS))
    shop = await nats.connect("shop")
    ears = Ears(shop)
    for subject in (
        f"{inbox_prefix('shop.till')}.>",
        f"{inbox_prefix('shop.till')}.*",
        f"{inbox_prefix('shop')}=2Etill.>",
        "_INBOX.>",
        "*.x",
        ">",
    ):
        await ears.listen(subject)
    own = Ears(shop)
    await own.listen(f"{inbox_prefix('shop')}.>")
    await own.settle()
    for principal in PRINCIPALS:
        await witness.publish(f"{inbox_prefix(principal)}.x", principal.encode())
    await witness.publish("_INBOX.x", b"default")
    await Ears(witness).settle()
    await own.settle()
    assert list(own.heard.values()) == [{b"shop"}]
    assert set().union(*ears.heard.values()) == set()


async def test_a_client_does_not_widen_what_it_may_do(nats: Stage) -> None:
    """Not by wildcards, not by the server's own subjects, not by another queue."""
    witness = await nats.witness()
    await streams(witness)
    await nats.give(["shop"], publish("shop", "a.b"), consume("shop", "s.a.x", "d", "A"))
    client = await nats.connect("shop")
    ears, heard = Ears(client), Ears(witness)
    for subject in ("a.*", "a.>", "*.b", "s.>", "$SYS.>", "$JS.EVENT.>"):
        await ears.listen(subject)
    for subject in ("a.c", "a.b.c", "a"):
        await heard.listen(subject)
    await heard.settle()
    await ears.settle()
    before = await nats.standing()
    for subject in ("a.c", "a.b.c", "a"):
        await client.publish(subject, b"x")
    await witness.publish("a.b", b"x")
    jetstream = client.jetstream(timeout=0.3)
    for attempt in (
        jetstream.add_consumer("A", ConsumerConfig(durable_name="d", filter_subject="s.a.0")),
        jetstream.add_consumer("A", ConsumerConfig(durable_name="mine")),
        jetstream.delete_consumer("A", "d"),
        jetstream.delete_stream("A"),
        jetstream.get_msg("A", 1),
        jetstream.stream_info("A"),
        client.request("$SYS.REQ.CLAIMS.UPDATE", before.encode(), timeout=0.3),
        client.request("$SYS.REQ.USER.INFO", b"", timeout=0.3),
    ):
        with contextlib.suppress(errors.Error):
            await attempt
            raise AssertionError(attempt)
    await heard.settle()
    await ears.settle()
    assert not any(ears.heard.values())
    assert not any(heard.heard.values())
    assert await nats.standing() == before
    info = await witness.jetstream().stream_info("A")
    assert info.state.consumer_count == 2


async def test_hostile_names_that_reach_the_account_are_no_template(nats: Stage) -> None:
    """A principal's name is in its user's JWT, from which the server fills templates in."""
    await nats.give(["{{name()}}", "*"])
    for principal in ("{{name()}}", "*"):
        client = await nats.enter(nats.creds[principal, Slot.FIRST], "_INBOX")
        ears = Ears(client)
        await ears.listen(">")
        await ears.listen("*")
        await ears.settle()
        witness = await nats.witness()
        await witness.publish("a", b"x")
        await Ears(witness).settle()
        await ears.settle()
        assert not any(ears.heard.values())


async def test_changed_grants_reach_a_client_that_keeps_its_credential(nats: Stage) -> None:
    witness = await nats.witness()
    heard = Ears(witness)
    await heard.listen("b")
    await heard.settle()
    await nats.give(["shop", "till"], publish("shop", "a"), publish("till", "a"))
    client = await nats.connect("shop", allow_reconnect=True)
    untouched = await nats.connect("till")
    await client.publish("b", b"too early")
    await client.flush()
    assert not await nats.broker.apply(Batch((), granted(publish("shop", "b"))))
    await until(lambda: client.stats["reconnects"] == 1 and client.is_connected)
    await client.publish("b", b"now")
    await client.flush()
    await heard.settle()
    assert heard.heard == {("b", ""): {b"now"}}
    assert untouched.is_connected  # the server cuts those whose grants change, and nobody else
    removed = tuple(set(granted(publish("shop", "b"))) - set(granted(publish("shop", "a"))))
    assert not await nats.broker.apply(Batch(removals=removed))
    await until(lambda: client.stats["reconnects"] == 2 and client.is_connected)
    await client.publish("b", b"too late")
    await client.flush()
    await heard.settle()
    assert heard.heard == {("b", ""): {b"now"}}


async def test_the_names_a_service_reads_are_those_of_the_server(nats: Stage) -> None:
    """The account stays as `nsc` and other administrators read it."""
    await nats.give(["shop"], publish("shop", "a"))
    (entry,) = (await nats.claims())["nats"]["signing_keys"]
    assert json.loads(json.dumps(entry)) == {
        "kind": "user_scope",
        "key": entry["key"],
        "role": "shop",
        "template": {
            "pub": {"allow": ["a"]},
            "sub": {"allow": ["_INBOX_shop.>"]},
            "subs": -1,
            "data": -1,
            "payload": -1,
        },
        "description": "troth.dev/First",
    }


async def test_a_limit_of_nats_is_as_it_is_said_to_be(nats: Stage) -> None:
    """The answer of JetStream goes where the asker says; `planning/nats_rules.py` tells of it.

    Should this fail, the server has learned better, and what is told there has to change.
    """
    witness = await nats.witness()
    await streams(witness)
    await nats.give(["shop"], consume("shop", "s.a.x", "d", "A"))
    seen: list[Msg] = []

    async def hear(message: Msg) -> None:
        seen.append(message)

    await witness.subscribe("victim", cb=hear)
    await witness.flush()
    client = await nats.connect("shop")
    await client.publish("victim", b"of its own")
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.A.d", b"1", reply="victim")
    await until(lambda: seen)
    assert [(message.subject, message.data) for message in seen] == [("s.a.0", b"kept")]
