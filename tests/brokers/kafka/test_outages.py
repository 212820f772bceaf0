"""A Kafka that is down or rejects the operator: errors come in time and contain no secret."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.brokers.kafka import KafkaServer
from sandbox.certificates import Authority
from sandbox.control_plane import free_port
from tests.brokers.kafka.clients import DONE, Client, access, administered, make_topics
from tests.brokers.waiting import becomes, observed
from tests.patience import PATIENCE
from troth.brokers.errors import AdminRefusedError, BrokerError, NotTakenError, UnreachableError
from troth.brokers.kafka.admin import Certificate, Scram
from troth.brokers.kafka.client import Access
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential, Login
from troth.trust.grants import Action, Grant, Rule, Slot, Topic

SECRET = "what-nobody-may-read"
ANY = Batch(additions=(Rule("a", "TOPIC", "LITERAL", "never", "WRITE", host="*"),))


async def refusals(at: Access, *, within: float = 10) -> list[BrokerError]:
    """Return the errors of `observe` and `apply`."""
    broker = Kafka(at, timeout=within)
    raised = []
    try:
        for question in (broker.observe, lambda: broker.apply(ANY)):
            with pytest.raises(BrokerError) as caught:
                await question()
            raised.append(caught.value)
    finally:
        await broker.close()
    return raised


def certificate(authority: Authority, user: str) -> Certificate:
    pair = authority.client(user, user=user)
    return Certificate(pair.certificate.read_text(), pair.key.read_text())


@pytest.mark.long
async def test_unreachable_broker_times_out(server: KafkaServer) -> None:
    nobody = replace(access(server), servers=(f"127.0.0.1:{free_port()}",))
    async with asyncio.timeout(PATIENCE):
        errors = await refusals(nobody, within=1)
    assert {type(error) for error in errors} == {UnreachableError}
    assert "did not answer within 1 s" in str(errors[0])


async def test_event_loop_runs_during_a_request(server: KafkaServer) -> None:
    nobody = Kafka(replace(access(server), servers=(f"127.0.0.1:{free_port()}",)), timeout=1)
    waiting = asyncio.create_task(nobody.observe())
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert isinstance(waiting.exception(), UnreachableError)
    assert turns > 5  # one, if the loop were blocked
    await nobody.close()


async def test_one_connection_is_used_until_an_error(server: KafkaServer, kafka: Kafka) -> None:
    await kafka.observe()
    connection = kafka._client._admin
    await kafka.apply(Batch(removals=ANY.additions))
    await kafka.observe()
    assert kafka._client._admin is connection
    assert connection is not None


async def test_wrong_password_is_rejected_at_once(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    await kafka.apply(Batch(credentials=(Credential(mine, Slot.SECOND, "right"),)))
    await observed(kafka, lambda seen: (mine, Slot.SECOND) in seen.credentials)
    at = replace(access(server), servers=(server.client_address,), login=Scram(mine, SECRET))
    errors = await refusals(at, within=PATIENCE)
    assert {type(error) for error in errors} == {NotTakenError}
    assert "rejects the operator's credential" in str(errors[0])


async def test_certificate_of_another_authority_is_rejected_at_once(
    server: KafkaServer, tmp_path: Path
) -> None:
    stranger = certificate(Authority(tmp_path), "troth-admin")
    errors = await refusals(replace(access(server), login=stranger))
    assert {type(error) for error in errors} == {NotTakenError}


async def test_user_who_may_not_administer_gets_an_error_and_no_empty_result(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    # librdkafka has crashed the process here; see kafka_client.
    visitor = certificate(server.authority, "visitor")
    errors = await refusals(replace(access(server), login=visitor))
    assert {type(error) for error in errors} == {AdminRefusedError}
    assert "does not allow the operator to describe its ACLs" in str(errors[0])
    assert "does not allow the operator to create ACLs" in str(errors[1])


async def test_administrator_with_scram_can_administer(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    of_cluster = [
        Rule(mine, "CLUSTER", "LITERAL", "kafka-cluster", operation, host="*")
        for operation in ("ALTER", "DESCRIBE")
    ]
    credential = Credential(mine, Slot.SECOND, "right")
    await kafka.apply(Batch(credentials=(credential,), additions=tuple(of_cluster)))
    await observed(
        kafka,
        lambda seen: set(of_cluster) <= seen.rules and (mine, Slot.SECOND) in seen.credentials,
    )
    at = replace(access(server), servers=(server.client_address,), login=Scram(mine, "right"))
    other = Kafka(at)
    assert set(of_cluster) <= (await other.observe()).rules
    assert await other.apply(Batch(credentials=(Credential(mine, Slot.FIRST, "x"),))) == ()

    # Its permissions are removed while it is connected.
    await kafka.apply(Batch(removals=tuple(of_cluster)))
    await observed(kafka, lambda seen: not set(of_cluster) & seen.rules)
    with pytest.raises(AdminRefusedError):
        await other.observe()
    await other.close()


async def test_untrusted_server_is_sent_nothing(server: KafkaServer, tmp_path: Path) -> None:
    trusted = Authority(tmp_path).certificate.read_text()
    errors = await refusals(replace(access(server), authorities=trusted))
    assert "is not from a trusted authority" in str(errors[0])


async def test_unusable_setting_is_named() -> None:
    errors = await refusals(Access(("127.0.0.1:9",), Certificate("nonsense", SECRET)))
    assert "the value of ssl.certificate.pem is invalid" in str(errors[0])


@pytest.mark.parametrize("login", [Certificate("public", SECRET), Scram("admin", SECRET)])
async def test_no_secret_is_shown(
    login: Certificate | Scram,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    at = Access((f"127.0.0.1:{free_port()}",), login)
    errors = await refusals(at, within=0.5)
    shown = [repr(at), repr(login), repr(Credential("a", Slot.FIRST, SECRET)), caplog.text]
    shown += [*map(repr, errors), *map(str, errors), *capfd.readouterr()]
    shown += [repr(error.__cause__) for error in errors]
    assert SECRET not in "".join(shown)


@pytest.mark.long
async def test_broker_restart_after_revocations_loses_no_credential(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    # If credentials were deleted, Kafka 4.4 would restart without any of their mechanism.
    topic = f"{mine}orders"
    make_topics(server, [topic])
    kept = [Credential(f"{mine}kept", slot, "kept") for slot in Slot]
    gone = [Credential(f"{mine}gone{n}", slot, "gone") for n in range(20) for slot in Slot]
    additions = rules(
        Grant(name, Action.PUBLISH, Topic(topic)) for name in (f"{mine}kept", f"{mine}gone0")
    )
    await kafka.apply(Batch(credentials=(*kept, *gone), additions=tuple(additions)))
    await kafka.apply(Batch(revocations=tuple((each.principal, each.slot) for each in gone)))

    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.resume)

    seen = await kafka.observe()
    mine_seen = {pair for pair in seen.credentials if pair[0].startswith(mine)}
    assert mine_seen == {(each.principal, each.slot) for each in kept}
    assert additions <= seen.rules
    for each in (*kept, gone[0], gone[1]):
        client = Client(server, each.principal, each.material, each.slot)
        outcome = await asyncio.to_thread(client.publish, topic)
        assert outcome == (DONE if each in kept else "_AUTHENTICATION")


@pytest.mark.long
async def test_outage_is_reported_and_the_adapter_recovers(server: KafkaServer, mine: str) -> None:
    kafka = administered(server, timeout=2)
    await kafka.observe()
    await asyncio.to_thread(server.stop, grace=0)
    addition = Rule(mine, "TOPIC", "LITERAL", mine, "WRITE", host="*")
    try:
        for question in (kafka.observe, lambda: kafka.apply(Batch(additions=(addition,)))):
            with pytest.raises(UnreachableError):
                await question()
    finally:
        await asyncio.to_thread(server.resume)
    assert addition not in (await kafka.observe()).rules
    assert await kafka.apply(Batch(additions=(addition,))) == ()
    await observed(kafka, lambda seen: addition in seen.rules)
    await kafka.close()


def silent() -> socket.socket:
    """Return a server that accepts connections and sends nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


def left() -> tuple[int, ...]:
    """Return how many threads and open files this process has, including those of libraries."""
    return tuple(sum(1 for _ in Path(f"/proc/self/{each}").iterdir()) for each in ("task", "fd"))


@pytest.mark.parametrize("listens", [True, False])
async def test_unresponsive_broker_leaves_no_thread_and_no_open_file(
    server: KafkaServer, *, listens: bool
) -> None:
    with silent() as listening:
        port = listening.getsockname()[1] if listens else free_port()
        before = left()
        broker = Kafka(replace(access(server), servers=(f"127.0.0.1:{port}",)), timeout=0.5)
        after = []
        for _ in range(3):
            with pytest.raises(UnreachableError):
                await broker.observe()
            after.append(left())
        assert after == [after[0]] * 3
        await broker.close()

        async def gone() -> bool:
            await asyncio.sleep(0.01)  # the library's thread ends by itself
            return all(now <= then for now, then in zip(left(), before, strict=True))

        await becomes(gone)


async def test_close_cancels_open_requests_and_rejects_later_ones(
    server: KafkaServer,
) -> None:
    with silent() as listening:
        port = listening.getsockname()[1]
        broker = Kafka(replace(access(server), servers=(f"127.0.0.1:{port}",)), timeout=600)
        asking = asyncio.create_task(broker.observe())
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await broker.close()
            with pytest.raises(
                BrokerError, match=r"connection was closed before the (request|answer)"
            ):
                await asking
            await broker.close()
    with pytest.raises(BrokerError, match="was closed"):
        await broker.observe()


async def test_password_works_only_for_its_principal_and_slot(kafka: Kafka, mine: str) -> None:
    login = Login(mine, Slot.FIRST, "password")
    await kafka.apply(Batch((Credential(mine, Slot.FIRST, login.secret),)))
    await becomes(lambda: kafka.admits(login))
    assert not await kafka.admits(replace(login, slot=Slot.SECOND))
    assert not await kafka.admits(Login("nobody", Slot.FIRST, login.secret))


async def test_admits_raises_if_the_server_checks_no_password(
    server: KafkaServer,
) -> None:
    """Otherwise a credential would seem revoked because it was tried at the wrong listener."""
    login = Login("anybody", Slot.FIRST, SECRET)
    misled = Kafka(access(server))
    with pytest.raises(BrokerError, match="requires a client certificate"):
        await misled.admits(login)
    await misled.close()
    nobody = Kafka(access(server), clients=(f"127.0.0.1:{free_port()}",), timeout=0.5)
    with pytest.raises(UnreachableError) as raised:
        await nobody.admits(login)
    assert SECRET not in str(raised.value)
    await nobody.close()
