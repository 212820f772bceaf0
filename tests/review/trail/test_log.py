"""The log is one chain, whatever fails: no entry is lost, and no second worker forks it."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.edge.events.trade import NOW, leaf
from tests.edge.mounts import workload
from tests.pki.builders import own_root
from tests.review.trail.scene import (
    DECISIONS,
    HEAD,
    REVIEW,
    WORKER,
    ConfigMaps,
    Output,
    Stepping,
    Steps,
    Worker,
    appended,
    bundles,
    letters,
    running,
)
from tests.virtual_time import run
from troth.cluster.errors import ApiError
from troth.edge.events.seal.signer import CurrentSigner, Signer
from troth.review.trail.decisions import MOST_LETTERS, Decision, Ended, Refused, Started
from troth.review.trail.entry import Entry, write
from troth.review.trail.head import HEAD as HEAD_KEY
from troth.review.trail.head import KEPT_BYTES, LINES, Head, HeadError, manifest, parse
from troth.review.trail.head_store import HeadStore, OvertakenError
from troth.review.trail.lines import entries_in
from troth.review.trail.log import AuditLog, ClosedError
from troth.review.trail.verification import Report, Verifier


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def verified(output: Output, server: ConfigMaps) -> Report:
    """Return the report on an output and the head."""
    assert server.stored is not None
    verifier = Verifier(bundles(), worker=WORKER)
    for number, line in enumerate(output.lines):
        verifier.take(line, f"out:{number + 1}")
    return verifier.report(parse(server.stored), str(HEAD))


def test_decisions_become_one_chain_that_verifies(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    numbers = run(appended(worker.log(server, output), *DECISIONS))
    report = verified(output, server)
    assert numbers == list(range(2, 2 + len(DECISIONS)))
    assert (report.faults, report.entries) == ((), 1 + len(DECISIONS))
    assert len(output.lines) == report.entries


def test_entry_has_what_was_decided_by_whom(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), DECISIONS[0]))
    entry = json.loads(output.lines[1])["troth.dev/audit"]["entry"]
    assert entry["review"] == {
        "name": "shop/schema-fixed",
        "uid": REVIEW.uid,
        "action": "Redrive",
    }
    assert (entry["requestedBy"], entry["approvedBy"]) == ("alića", "bob")
    assert (entry["decision"], entry["worker"], entry["sequence"]) == ("Requested", WORKER, 2)


def test_many_letters_become_entries_whose_lines_no_runtime_splits(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    (number,) = run(appended(worker.log(server, output), letters(2 * MOST_LETTERS + 1)))
    assert number == 4
    assert verified(output, server).faults == ()
    assert max(map(len, output.lines)) < 16 * 1024


def test_appends_that_come_together_share_one_write_of_the_head(worker: Worker) -> None:
    async def together() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            before = server.writes
            await asyncio.gather(*(log.append(each) for each in DECISIONS))
            assert server.writes == before + 1

    server, output = ConfigMaps(), Output()
    run(together())
    assert verified(output, server).faults == ()


def test_head_keeps_only_the_last_lines(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), *(letters(MOST_LETTERS) for _ in range(40))))
    assert server.stored is not None
    assert len(server.stored["data"][LINES]) < KEPT_BYTES + 16 * 1024
    assert verified(output, server).faults == ()


def test_restarted_worker_continues_the_chain(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    assert run(appended(worker.log(server, output), *DECISIONS[:3])) == [2, 3, 4]
    assert run(appended(worker.log(server, output), *DECISIONS[3:5])) == [5, 6]
    assert verified(output, server).faults == ()


def test_lines_on_a_lost_disk_are_printed_again(worker: Worker) -> None:
    server, lost, output = ConfigMaps(), Output(), Output()
    run(appended(worker.log(server, lost), *DECISIONS[:3]))
    run(appended(worker.log(server, output), *DECISIONS[3:5]))
    report = verified(output, server)
    assert (report.faults, report.entries) == ((), 6)


def test_crash_at_any_step_loses_no_entry(worker: Worker) -> None:
    """Each process is frozen at its k-th step, and the next one appends what was not returned."""
    reached, at = True, 1
    while reached:
        reached = run(_crashing(worker, at))
        at += 1
    assert at > 40


async def _crashing(worker: Worker, at: int) -> bool:
    """Return whether the process reached the step."""
    server, output = ConfigMaps(), Output()
    told: dict[int, Decision] = {}
    steps = Steps(freeze_at=at)
    output.steps = steps
    left = await _life(worker.log(Stepping(server, steps), output), steps, list(DECISIONS), told)
    output.steps = Steps()
    left = await _life(worker.log(server, output), output.steps, left, told)
    assert not left
    report = verified(output, server)
    assert report.faults == (), f"frozen at step {at}"
    assert sorted(map(repr, told.values())) == sorted(map(repr, DECISIONS))
    by_number = {each.sequence: each for line in output.lines for each in whole(line)}
    for number, decision in told.items():
        assert by_number[number].members["decision"] == decision.decision
    return steps.frozen.is_set()


def whole(line: str) -> list[Entry]:
    return [each for each in entries_in(line) if isinstance(each, Entry)]


async def _life(
    log: AuditLog, steps: Steps, decisions: list[Decision], told: dict[int, Decision]
) -> list[Decision]:
    """Append decisions until the process freezes; return those that were not appended."""

    async def act() -> None:
        while decisions:
            number = await log.append(decisions[0])
            told[number] = decisions.pop(0)

    async with running(log):
        acting, freezing = (asyncio.create_task(each) for each in (act(), steps.frozen.wait()))
        await asyncio.wait({acting, freezing}, return_when=asyncio.FIRST_COMPLETED)
        acting.cancel()
        freezing.cancel()
    return decisions


def test_second_worker_stops_the_first_and_the_chain_does_not_fork(worker: Worker) -> None:
    async def both() -> None:
        first, second = worker.log(server, output), worker.log(server, output)
        async with running(first) as task:
            await first.append(DECISIONS[0])
            await appended(second, DECISIONS[1])
            with pytest.raises(OvertakenError):
                await first.append(DECISIONS[2])
            with pytest.raises(OvertakenError, match="another worker has written ConfigMap"):
                await task
            with pytest.raises(OvertakenError):
                await first.append(DECISIONS[3])

    server, output = ConfigMaps(), Output()
    run(both())
    report = verified(output, server)
    assert (report.faults, report.entries) == ((), 3)


def test_two_workers_that_begin_together_begin_one_log(worker: Worker) -> None:
    async def both() -> list[object]:
        logs = [worker.log(server, output) for _ in range(2)]
        return await asyncio.gather(
            *(appended(each, DECISIONS[0]) for each in logs), return_exceptions=True
        )

    server, output = ConfigMaps(), Output()
    results = run(both())
    assert [isinstance(each, OvertakenError) for each in results].count(True) == 1
    assert verified(output, server).faults == ()


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([ApiError(0, "TimeoutError", "")], id="answer lost"),
        pytest.param([ApiError(503, "ServiceUnavailable", "")] * 3, id="unavailable"),
        pytest.param([ApiError(403, "Forbidden", "")], id="forbidden"),
        pytest.param(
            [ApiError(0, "TimeoutError", ""), ApiError(503, "ServiceUnavailable", "")],
            id="answer lost, then unavailable",
        ),
    ],
)
def test_head_that_cannot_be_written_is_written_later(
    faults: list[ApiError | None], worker: Worker
) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            server.faults = list(faults)
            assert await log.append(DECISIONS[1]) == 3

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


def test_no_append_returns_while_the_head_cannot_be_written(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            server.faults = [ApiError(503, "ServiceUnavailable", "")] * 1000
            printed = list(output.lines)
            appending = asyncio.create_task(log.append(DECISIONS[1]))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert (
                log.fault == f"ConfigMap {HEAD} cannot be read or written: 503 ServiceUnavailable"
            )
            assert output.lines == printed
            server.faults = []
            assert await appending == 3
            assert log.fault is None

    server, output = ConfigMaps(), Output()
    run(act())


def test_no_append_returns_while_the_output_cannot_be_written(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            output.faults = 1000
            appending = asyncio.create_task(log.append(DECISIONS[1]))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert log.fault == "the disk is full"
            output.faults = 0
            assert await appending == 3

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


def test_no_entry_is_signed_with_an_expired_certificate(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            worker.now += 2 * 86400
            appending = asyncio.create_task(log.append(DECISIONS[1]))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert "the certificate of this identity has expired" in str(log.fault)
            worker.issue()
            assert await appending == 3

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


def test_renewed_certificate_signs_the_next_entry(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            worker.issue(leaf(WORKER, at=worker.now - 60))
            await log.append(DECISIONS[1])

    server, output = ConfigMaps(), Output()
    run(act())
    chains = [json.loads(each)["troth.dev/audit"]["entry"]["chain"] for each in output.lines]
    assert len(set(chains)) == 2
    assert verified(output, server).faults == ()


def test_deleted_head_is_written_again(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            server.stored = None
            assert await log.append(DECISIONS[1]) == 3

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


def test_head_that_went_back_is_brought_forward(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            assert server.stored is not None
            before = server.stored["data"]
            await log.append(DECISIONS[1])
            server.restore(before)
            assert await log.append(DECISIONS[2]) == 4

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


def test_relabelled_head_is_no_second_worker(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            await log.append(DECISIONS[0])
            server.edit()
            assert await log.append(DECISIONS[1]) == 3

    server, output = ConfigMaps(), Output()
    run(act())
    assert verified(output, server).faults == ()


@pytest.mark.parametrize(
    "data",
    [
        {"head.json": "{}"},
        {"head.json": "["},
        {"lines.jsonl": ""},
        {"lines.jsonl": "hello\n"},
        {"head.json": '{"hash":"' + "A" * 43 + '","log":"x","sequence":7}'},
    ],
)
def test_edited_head_stops_the_log_until_a_person_has_acted(
    data: dict[str, str], worker: Worker
) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            appending = asyncio.create_task(log.append(DECISIONS[1]))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert "is not the head of the log" in str(log.fault)
            server.restore(sound)
            assert await appending == 3

    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), DECISIONS[0]))
    assert server.stored is not None
    sound = server.stored["data"]
    server.edit(**data)
    run(act())
    assert verified(output, server).faults == ()


def _head_of(*entries: Entry) -> dict[str, str]:
    """Return the data of a head whose lines lead to its hash."""
    last = entries[-1]
    head = Head(last.log, last.sequence, last.hash, entries)
    data: dict[str, str] = manifest(head, HEAD, None)["data"]
    return data


def _forged(entry: Entry, signer: Signer, worker: str = WORKER) -> Entry:
    """Return another entry with the number of an entry."""
    return write(
        Refused(REVIEW, "Forged"),
        log=entry.log,
        sequence=entry.sequence,
        previous=entry.previous,
        now=int(NOW),
        worker=worker,
        signer=signer,
    )


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        pytest.param("signature", "entry 3 is not what was signed", id="signature"),
        pytest.param("earlier signature", "entry 2 is not what was signed", id="earlier signature"),
        pytest.param("workload", "is signed by", id="workload"),
        pytest.param("root", "the worker's certificates cannot be verified", id="root"),
    ],
)
def test_head_that_the_worker_did_not_sign_is_not_published(
    forged: str, told: str, worker: Worker, tmp_path: Path
) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        async with running(log):
            appending = asyncio.create_task(log.append(DECISIONS[1]))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert told in str(log.fault)
            assert output.lines == printed
            server.restore(sound)
            assert await appending == 4

    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), *DECISIONS[:2]))
    assert server.stored is not None
    sound, printed = server.stored["data"], list(output.lines)
    first, second, third = parse(server.stored).entries
    stranger = Worker(tmp_path / "stranger")
    match forged:
        case "signature":
            third = replace(third, signature=second.signature)
        case "earlier signature":
            second = replace(second, signature=third.signature)
        case "workload":
            name = workload("stranger")
            stranger.issue(leaf(name, at=NOW - 60), spiffe_id=name)
            signer = CurrentSigner().signer(stranger.identity().current)
            third = _forged(third, signer, name)
        case "root":
            other = own_root(which="nobody's", now=datetime.fromtimestamp(NOW, UTC))
            stranger.issue(leaf(WORKER, at=NOW, authority=other))
            third = _forged(third, CurrentSigner().signer(stranger.identity().current))
    server.restore(_head_of(first, second, third))
    run(act())
    assert verified(output, server).faults == ()


def test_entries_of_a_root_that_is_forgotten_are_vouched_for_by_the_last(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    other = own_root(which="old", now=datetime.fromtimestamp(NOW, UTC) - timedelta(days=1))
    worker.issue(leaf(WORKER, at=NOW - 60, authority=other))
    run(appended(worker.log(server, output), DECISIONS[0]))
    worker.issue()
    with pytest.raises(TimeoutError):
        run(_in_time(worker.log(server, output), DECISIONS[1]))
    assert server.stored is not None
    first, last = parse(server.stored).entries
    renewed = _forged(last, CurrentSigner().signer(worker.identity().current))
    server.restore(_head_of(first, renewed))
    assert run(appended(worker.log(server, output), DECISIONS[1])) == [3]


async def _in_time(log: AuditLog, decision: Decision) -> None:
    async with asyncio.timeout(3600):
        await appended(log, decision)


def test_head_whose_hash_is_not_that_of_its_last_line_is_no_head(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), DECISIONS[0]))
    assert server.stored is not None
    last = json.loads(server.stored["data"][HEAD_KEY])
    server.edit(**{HEAD_KEY: json.dumps(last | {"hash": "A" * 43})})
    with pytest.raises(HeadError, match=r"is not the entry of head\.json"):
        parse(server.stored)


def test_cancelled_append_that_is_not_being_written_is_dropped(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output)
        dropped = asyncio.create_task(log.append(DECISIONS[0]))
        await asyncio.sleep(0)
        dropped.cancel()
        await asyncio.wait({dropped})
        async with running(log):
            assert await log.append(DECISIONS[1]) == 2

    server, output = ConfigMaps(), Output()
    run(act())


def test_closed_log_appends_nothing(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(ConfigMaps(faults=[ApiError(503, "", "")] * 9), Output())
        async with running(log):
            appending = asyncio.create_task(log.append(DECISIONS[0]))
            await asyncio.sleep(1)
        with pytest.raises(ClosedError):
            await appending
        with pytest.raises(ClosedError):
            await log.append(DECISIONS[0])

    run(act())


def test_sink_that_is_not_required_delays_nothing_and_loses_nothing(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output, topic)
        async with running(log):
            topic.faults = 3
            for each in DECISIONS:
                await log.append(each)
            assert not topic.lines
            await asyncio.sleep(60)

    server, output = ConfigMaps(), Output()
    topic = Output(name="topic", required=False)
    run(act())
    assert verified(topic, server).faults == ()


def test_entries_that_a_topic_lacks_are_delivered_after_a_restart(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    topic = Output(name="topic", required=False, faults=1000)
    many = [letters(MOST_LETTERS) for _ in range(30)]
    run(appended(worker.log(server, output, topic), *many))
    assert server.stored is not None
    assert len(server.stored["data"][LINES]) > 2 * KEPT_BYTES

    async def act() -> None:
        async with running(worker.log(server, output, topic)):
            await asyncio.sleep(60)

    topic.faults = 0
    run(act())
    report = verified(topic, server)
    assert (report.faults, report.entries) == ((), 31)


def test_nothing_is_appended_while_too_many_entries_wait_for_a_topic(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output, topic)
        async with running(log):
            appending = asyncio.create_task(_all(log))
            await asyncio.sleep(3600)
            assert not appending.done()
            assert log.fault == "the disk is full"
            assert server.stored is not None
            assert sum(map(len, server.stored["data"].values())) < 900 * 1024
            topic.faults = 0
            await appending

    async def _all(log: AuditLog) -> None:
        for _ in range(100):
            await log.append(letters(MOST_LETTERS))

    server, output = ConfigMaps(), Output()
    topic = Output(name="topic", required=False, faults=100_000)
    run(act())
    assert verified(output, server).faults == ()


def test_metrics_count_entries_letters_and_what_waits(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(server, output, topic, registry=registry)
        async with running(log):
            for each in DECISIONS:
                await log.append(each)
            assert sample("pending", sink="topic") == len(DECISIONS) + 1
            assert sample("pending", sink="stdout") == 0
            output.faults = 1000
            appending = asyncio.create_task(log.append(DECISIONS[0]))
            await asyncio.sleep(60)
            assert sample("pending", sink="stdout") > 0
            appending.cancel()

    def sample(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"troth_audit_log_{name}", labels) or 0

    server, output, registry = ConfigMaps(), Output(), CollectorRegistry()
    topic = Output(name="topic", required=False, faults=1000)
    run(act())
    assert sample("entries_total", decision="Settled") == 2
    assert sample("letters_total", policy="shop/orders", outcome="Redriven", reason="") == 2
    skipped = {"policy": "shop/orders", "outcome": "Skipped", "reason": "ProducerNotGranted"}
    assert sample("letters_total", **skipped) == 1


def test_progress_is_exported_while_a_review_is_carried_out(worker: Worker) -> None:
    async def act() -> None:
        log = worker.log(ConfigMaps(), Output(), registry=registry)
        async with running(log):
            for each in DECISIONS[:3]:
                await log.append(each)
            assert progress() == worker.now
            worker.now += 60
            await log.append(DECISIONS[3])
            assert progress() == worker.now
            await log.append(DECISIONS[5])
            assert progress() is None
            await log.append(DECISIONS[7])

    def progress() -> float | None:
        labels = {"policy": "shop/orders"}
        return registry.get_sample_value("troth_review_progress_timestamp_seconds", labels)

    registry = CollectorRegistry()
    run(act())


def test_store_says_that_there_is_no_head(worker: Worker) -> None:
    assert run(HeadStore(ConfigMaps(), HEAD).load()) is None


def test_resumed_review_is_marked(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(worker.log(server, output), Started(REVIEW, 1, "A" * 43, resumed=True)))
    assert json.loads(output.lines[-1])["troth.dev/audit"]["entry"]["resumed"] is True


def test_review_without_approval_names_no_approver(worker: Worker) -> None:
    server, output = ConfigMaps(), Output()
    alone = replace(REVIEW, approved_by=None)
    run(appended(worker.log(server, output), Ended(alone)))
    assert "approvedBy" not in json.loads(output.lines[-1])["troth.dev/audit"]["entry"]
