"""A careless program makes the demo fail, in the trial that shows it."""

import re
from pathlib import Path

import pytest

from sandbox import Tier
from sandbox.demo.setting import Act
from tests.cluster.demo.output import CALLS, part
from tests.cluster.demo.running import demo, environment, mutate, mutated
from tests.sandbox.nodes import skip_without
from tests.sandbox.observing import becomes, processes_of


@pytest.mark.long
def test_careless_service_expired_token_open_topic_or_old_delivery_fails(tmp_path: Path) -> None:
    """One run with a fault in each act; each is found where it is, and nothing else is wrong."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    service, honest = "sandbox/demo/calls/service.py", "if (entry["
    checkout = mutated(tmp_path, service, honest, "if True or (entry[")
    checks, table = "operator/troth/pki/tokens/checks.py", "operator/troth/brokers/nats/rules.py"
    mutate(checkout / checks, ", now - _LEEWAY < expires)", ", True)")
    mutate(checkout / table, "MSG.NEXT.{consumer}", "MSG.NEXT.{grant.stream}.*")
    times = "operator/troth/webhooks/schemes/fields/timestamps.py"
    mutate(checkout / times, "if now - timestamp > tolerance:", "if False:")
    opener = "operator/troth/edge/events/opening.py"
    mutate(checkout / opener, "abs(stored - case.time) > TOLERANCE", "False")
    env = environment(temporary) | {"PYTHONPATH": str(checkout / "operator")}
    done = demo(f"--tier={Tier.CONTROL_PLANE}", env=env, checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search("✗ fulfilment → payments .* WRONG", done.stdout)
    attacks = "\n".join(part(done.stdout, "Attacks with headers and tokens"))
    assert re.search("✗ +a token that expired 5 minutes ago +WRONG", attacks)
    assert "expected status: 401, code: token-expired; observed status: 200" in attacks
    assert attacks.count("✓") == 7
    messages = "\n".join(part(done.stdout, "Messages: the broker accepts only"))
    assert re.search("✗ +consumes prod.orders.v1 as audit +WRONG", messages)
    assert re.search("expected (rejected|words): ", messages)
    assert messages.count("WRONG") == 1
    events = "\n".join(part(done.stdout, "Forged events: fulfilment rejects"))
    assert re.search("✗ +dates it back, as with a stolen old key +accepted +WRONG", events)
    assert "expected outcome: DeadLettered, reason: TimeMismatch, handled: False" in events
    assert events.count("WRONG") == 1
    webhooks = "\n".join(part(done.stdout, "Webhooks: the gateway accepts"))
    assert re.search("✗ +one signed 10 minutes ago +WRONG", webhooks)
    assert "expected status: 401, reason: timestamp-too-old" in webhooks
    assert webhooks.count("WRONG") == 1
    assert "All trials ended as expected" not in done.stdout


@pytest.mark.long
def test_missing_packet_filter_or_root_dropped_while_in_use_fails(tmp_path: Path) -> None:
    """One run with a fault in each act that needs a node. Such a run leaves nothing either."""
    skip_without(Tier.PROCESS_PODS)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    supervisor = "sandbox/node/supervisor.py"
    start = "        self._firewall.start()\n        async with inwards"
    checkout = mutated(tmp_path, supervisor, start, "        async with inwards")
    handover = "operator/troth/planning/rotation/handover.py"
    mutate(checkout / handover, "if credential.old_compromised:", "if True:")
    env = environment(temporary) | {"PYTHONPATH": str(checkout / "operator")}
    done = demo(
        *(f"--tier={Tier.PROCESS_PODS}", Act.CALLS, Act.ROTATION), env=env, checkout=checkout
    )
    assert done.returncode == 1, done.stdout + done.stderr
    tried = "\n".join(part(done.stdout, CALLS))
    for row in (
        "✗ fulfilment → payments .* pass +rejected +WRONG",
        "✗ checkout → legacy/warehouse .* pass +plain +WRONG",
        r"✗ every other pair \(\d+ of \d+\) .* pass .* WRONG",
        "✓ checkout → payments .* pass +mTLS 1.3 +payments.charge granted",
        "expected layer: network, reason: rejected; observed layer: handshake, by: server",
    ):
        assert re.search(row, tried), row
    assert re.search("✗ +calls again afterwards +WRONG", done.stdout)
    assert re.search(r"^✗ \w+ +\d+ handshakes, [1-9]\d* failed", done.stdout, re.MULTILINE)
    assert re.search(r"✗ each service +calls the next +WRONG", done.stdout)
    assert "unknown certificate authority" in done.stdout
    assert "All trials ended as expected" not in done.stdout
    assert becomes(lambda: not processes_of(tmp_path) and not list(temporary.iterdir()))
