"""Several gateways with one store that crashes under load: each delivery arrives once."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from sandbox.valkey import ValkeyServer
from tests.webhooks.gateway.running import RunningGateway, ledger, running_gateway, until
from troth.replay.valkey import Valkey
from troth.webhooks.schemes.delivery import Delivery

DISTINCT, TIMES = 250, 40


def deliveries_by_body(at: RunningGateway) -> Counter[str]:
    """How often the target was given each delivery, by its body."""
    return Counter(seen.body.decode() for seen in at.ledger.seen)


async def test_duplicates_at_two_replicas_arrive_once(tmp_path: Path, valkey: ValkeyServer) -> None:
    async with AsyncExitStack() as stack:
        behind = stack.enter_context(ledger(tmp_path))
        replicas = [
            await stack.enter_async_context(
                running_gateway(tmp_path, Valkey(valkey.url), on=behind)
            )
            for _ in range(2)
        ]
        deliveries = [replicas[0].sender.signed(f"{{{n}}}".encode()) for n in range(DISTINCT)]
        sending = [(each, turn) for each in deliveries for turn in range(TIMES)]
        random.Random(7).shuffle(sending)
        heard: Counter[tuple[str, int]] = Counter()
        queue = iter(sending)

        async def send() -> None:
            for delivery, turn in queue:
                said = await replicas[turn % 2].sender.send(delivery)
                heard[delivery.body.decode(), said.status] += 1

        async def retry(delivery: Delivery) -> None:
            """As senders do. On a busy machine the target may be unreachable for every attempt."""
            for turn in range(20):
                if heard[delivery.body.decode(), 200]:
                    return
                said = await replicas[turn % 2].sender.send(delivery)
                heard[delivery.body.decode(), said.status] += 1

        await asyncio.gather(*(send() for _ in range(64)))
        assert sum(heard.values()) == 10_000
        await asyncio.gather(*(retry(each) for each in deliveries))
        assert {status for _, status in heard} <= {200, 503}
        assert deliveries_by_body(replicas[0]) == {f"{{{n}}}": 1 for n in range(DISTINCT)}
        assert all(heard[f"{{{n}}}", 200] for n in range(DISTINCT))


async def test_store_restart_under_load_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    with ValkeyServer.serving() as server:
        async with AsyncExitStack() as stack:
            behind = stack.enter_context(ledger(tmp_path))
            replicas = [
                await stack.enter_async_context(
                    running_gateway(tmp_path, Valkey(server.url), on=behind)
                )
                for _ in range(2)
            ]
            deliveries = [replicas[0].sender.signed(f"{{{n}}}".encode()) for n in range(400)]
            put_off = 0

            async def insist(at: int, delivery: Delivery) -> None:
                """As a sender does: again, wherever the load balancer leads, until it is taken."""
                nonlocal put_off
                while (await replicas[at % 2].sender.send(delivery)).status != 200:
                    put_off += 1
                    at += 1
                    await asyncio.sleep(0.05)

            async def send(own: list[Delivery]) -> None:
                for at, delivery in enumerate(own):
                    await asyncio.gather(insist(at, delivery), insist(at + 1, delivery))

            async def disturb() -> None:
                for _ in range(3):
                    await asyncio.sleep(0.15)
                    await asyncio.to_thread(server.stop, grace=0)
                    await asyncio.sleep(0.15)
                    await asyncio.to_thread(server.restart)

            await asyncio.gather(disturb(), *(send(deliveries[n::16]) for n in range(16)))
            assert put_off
            assert deliveries_by_body(replicas[0]) == {f"{{{n}}}": 1 for n in range(400)}
            # and whoever sends them once more hears that they are done
            for delivery in deliveries[::20]:
                assert (await replicas[1].sender.send(delivery)).status == 200
            assert sum(deliveries_by_body(replicas[0]).values()) == 400


async def test_nothing_is_forwarded_while_the_store_is_unavailable(
    tmp_path: Path,
) -> None:
    with ValkeyServer.serving() as server:
        async with running_gateway(tmp_path, Valkey(server.url)) as at:
            taken_already = at.sender.signed()
            assert (await at.sender.send(taken_already)).status == 200
            server.stop(grace=0)
            sent = [at.sender.signed() for _ in range(20)]
            for delivery in (*sent, taken_already):
                heard = await at.sender.send(delivery)
                assert (heard.status, heard.headers["Retry-After"]) == (503, "10")
            assert len(at.ledger.seen) == 1
            server.restart()
            for delivery in (*sent, taken_already):
                assert (await at.sender.send(delivery)).status == 200
            assert len(at.ledger.seen) == 21


async def test_delivery_accepted_while_the_store_was_away_is_not_repeated(
    tmp_path: Path,
) -> None:
    with ValkeyServer.serving() as server:
        async with AsyncExitStack() as stack:
            behind = stack.enter_context(ledger(tmp_path))
            first, second = [
                await stack.enter_async_context(
                    running_gateway(tmp_path, Valkey(server.url), on=behind)
                )
                for _ in range(2)
            ]
            delivery = first.sender.signed()
            behind.gate.clear()
            sending = asyncio.create_task(first.sender.send(delivery))
            await until(lambda: behind.seen)
            await asyncio.to_thread(server.stop, grace=0)
            behind.gate.set()
            assert (await sending).status == 200
            assert (await first.sender.send(delivery)).status == 200
            await asyncio.to_thread(server.restart)
            # until the mark is made the claim stands: no replica lets it through
            statuses = set()
            while 200 not in statuses:
                statuses.add((await second.sender.send(delivery)).status)
                await asyncio.sleep(0.02)
            assert statuses <= {200, 503}
            assert len(behind.seen) == 1
