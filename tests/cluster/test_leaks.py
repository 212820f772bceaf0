"""Leaks: no private key, password or token of a run appears in any visible output.

The run is as rough as possible: users put keys where they do not belong, rejections of the API
server quote requests, and answers make no sense, so that tracebacks are logged. The test knows
every secret, and searches all outputs for every piece of it.
"""

import asyncio
from pathlib import Path

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.nats.stage import Stage as Account
from tests.cluster.brokers.market import Market
from tests.cluster.stage import Stage
from tests.leaks import acts, broker_acts, hooks, token_acts, webhook_acts, webhook_faults
from tests.leaks.recording import LAST_APPLIED
from tests.leaks.run import CONSOLE, JSON, Run, listened_to


async def test_no_secret_of_a_run_appears_in_any_output(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listened_to(stage, tmp_path, monkeypatch) as run:
        first = run.start(CONSOLE)
        await first.leads()
        second = run.start(JSON)
        payments, web = await acts.everything_is_made(run)
        await asyncio.gather(acts.people_look(run), acts.everything_is_replaced(run, payments))
        await acts.people_mislay_keys(run, payments)
        await asyncio.gather(acts.people_err(run), acts.refusals_quote(run))
        await acts.a_policy_of_the_api_server_quotes(run)
        await acts.answers_make_no_sense(run, web, CONSOLE)
        await asyncio.to_thread(first.stop)  # its last output passes through this process
        await second.leads()
        await acts.answers_make_no_sense(run, web, JSON)
        await acts.everything_goes(run, payments)
        await acts.a_watch_makes_no_sense(run)
        await run.recording.complete()
        has_been_through_it_all(run)
        await run.traces("troth-operator")
        leaks = run.leaks()
        assert not leaks, "\n".join(map(str, leaks))


def has_been_through_it_all(run: Run) -> None:
    """Assert from the operator's logs and statuses that it went through all the acts."""
    for log_format in (CONSOLE, JSON):
        log = run.log(log_format)
        for told in ("step failed", "/troth/reconcile/"):  # and the place
            assert log.count(told) >= 2, f"{told} is not in the log of {log_format}"
    for told in ("step refused", "write failed", "event lost", "watch failed", "step "):
        assert told in run.log(CONSOLE)
    reasons = {event["reason"] for event in run.recording.of("Event", run.stage.shop)}
    assert {"Reissued", "Repaired", "Conflict", "Fighting"} <= reasons
    corporate = run.recording.of("Secret", run.stage.own)
    assert any(LAST_APPLIED in (each["metadata"].get("annotations") or {}) for each in corporate)


async def test_no_token_or_signing_key_of_a_run_appears_in_any_output(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bound, unbound and transaction tokens: issued, presented, and rejected fully or in part."""
    caplog.set_level("DEBUG")
    async with listened_to(stage, tmp_path, monkeypatch) as run:
        await run.start(CONSOLE).leads()
        async with token_acts.trading(run, monkeypatch) as trade:
            await token_acts.tokens_are_used(trade)
            await token_acts.tokens_are_refused(trade)
            await token_acts.people_look_at_tokens(trade)
            await token_acts.the_key_is_replaced(trade)
            await token_acts.keys_are_mislaid(trade)
            await token_acts.everything_is_scraped(trade)
        await run.recording.complete()
        run.shown += [("the log of the services", line) for line in caplog.messages]
        assert "rejected token-" in caplog.text
        assert "decided" in trade.issuer.output
        await run.traces("troth-operator", "troth-issuer")
        search = run.secrets()
        trade.tell(search)
        leaks = run.leaks(search)
        assert not leaks, "\n".join(map(str, leaks))


@pytest.mark.long
async def test_no_broker_credential_appears_in_any_output(
    stage: Stage,
    nats: Account,
    own_kafka: KafkaServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials of clients and of administrators, at a NATS and at a Kafka."""
    async with listened_to(stage, tmp_path, monkeypatch) as run:
        await run.start(CONSOLE).leads()
        market = await Market.on(stage, nats, propagation="1s")
        brokers = broker_acts.Brokers(run, market, nats.server, own_kafka)
        await broker_acts.everything_is_granted(brokers)
        await broker_acts.credentials_are_replaced(brokers)
        await broker_acts.people_mislay_credentials(brokers)
        await broker_acts.brokers_go_away(brokers)
        await broker_acts.refusals_quote(brokers)
        await broker_acts.everything_is_revoked(brokers)
        await run.recording.complete()
        for told in ("step refused", "broker not usable"):
            assert told in run.log(CONSOLE)
        await run.traces("troth-operator")
        leaks = run.leaks()
        assert not leaks, "\n".join(map(str, leaks))


@pytest.mark.long
async def test_no_secret_of_a_webhook_appears_in_any_output(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys of senders, of gateways and of their store; signatures, bodies, and tokens."""
    caplog.set_level("DEBUG")
    async with listened_to(stage, tmp_path, monkeypatch) as run:
        await run.start(CONSOLE).leads()
        async with hooks.opened(run) as opened:
            await webhook_acts.endpoints_are_declared(opened)
            await webhook_acts.deliveries_come(opened)
            await webhook_acts.people_debug(opened)
            await asyncio.gather(
                webhook_acts.a_secret_is_replaced(opened),
                webhook_acts.deliveries_are_refused(opened),
            )
            await webhook_acts.the_target_fails(opened)
            await webhook_acts.the_store_goes_away(opened)
            await webhook_faults.configurations_are_malformed(opened)
            await webhook_faults.keys_are_mislaid(opened)
            await webhook_faults.refusals_quote(opened)
            await webhook_faults.gateways_are_started_wrongly(opened)
            await webhook_acts.everything_goes(opened)
            await webhook_faults.a_watch_makes_no_sense(opened)
            await run.scrape(CONSOLE)
            await run.recording.complete()
            await run.traces("troth-operator", "troth-gateway")
            opened.write_down()
        webhooks_have_been_through_it_all(run, opened)
        run.shown += [("the log of the target", line) for line in caplog.messages]
        search = run.secrets()
        opened.tell(search)
        leaks = run.leaks(search)
        assert not leaks, "\n".join(map(str, leaks))


def webhooks_have_been_through_it_all(run: Run, opened: hooks.Hooks) -> None:
    """Assert from the gateways' logs that they went through all the acts."""
    said = "\n".join(text for where, text in run.shown if "of the log of gateway" in where)
    for told in (
        *("done-already", "signature-wrong", "signature-missing", "timestamp-too-old", "too-long"),
        *(
            "target-refused",
            "store-unavailable",
            "accepted deliveries not recorded yet",
            "unreadable",
            "key.pem is not a key",
        ),
        *(
            "watch failed",
            "the URL of the replay store is invalid",
            "cannot be used",
            "MalformedEvent",
        ),
    ):
        assert told in said, f"{told} is in no log of a gateway"
    assert opened.target.tokens
    reports = run.recording.of("ConfigMap", opened.gates)
    assert any("k2" in str(each.get("data")) for each in reports)
