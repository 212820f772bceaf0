"""The demo as a person runs it: it proves what it says, it ends by itself, it leaves nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Tier, java
from sandbox.cache import cache_directory
from sandbox.demo import choosing
from sandbox.demo.choosing import BrokerName
from sandbox.demo.fleet import SERVICES
from sandbox.demo.message_ending import WITHIN as ENDS_WITHIN
from sandbox.demo.revoking import WITHIN
from sandbox.demo.shop import Shop
from sandbox.demo.webhook_trials import WITHIN as COUNTS_WITHIN
from tests.sandbox.nodes import skip_without
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

SECONDS = 300
WIDTH, HEIGHT = 100, 210  # of a terminal that shows all of it


def environment(temporary: Path) -> dict[str, str]:
    """The person's own, without a cluster of theirs, and with a temporary directory to look at."""
    kept = {key: text for key, text in os.environ.items() if key != "TROTH_SANDBOX_KUBECONFIG"}
    return {**kept, "TMPDIR": str(temporary), "KEEP": "", "BROKER": ""}


def demo(
    *arguments: str, env: dict[str, str], checkout: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.demo", *arguments],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def mutated(tmp_path: Path, file: str, honest: str, careless: str) -> Path:
    """A checkout in which one file says something else."""
    checkout = tmp_path / "checkout"
    for folder in ("sandbox", "charts", "examples", "operator"):
        shutil.copytree(REPOSITORY / folder, checkout / folder)
    mutate(checkout / file, honest, careless)
    return checkout


def mutate(file: Path, honest: str, careless: str) -> None:
    text = file.read_text()
    assert text.count(honest) == 1
    file.write_text(text.replace(honest, careless))


def part(output: str, title: str) -> list[str]:
    """The lines below a title."""
    (_, text) = re.split(f"^{title}.*$", output, flags=re.MULTILINE)
    return list(text.partition("\n\n")[0].splitlines())


def assert_fit_to_be_shown(done: subprocess.CompletedProcess[str]) -> None:
    assert all(len(line) <= WIDTH for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout, "no escape codes where there is no terminal"
    for secret in ("PRIVATE KEY", "eyJ", "whsec_", "valkey://"):
        assert secret not in done.stdout + done.stderr


def assert_attacks_fail_for_the_right_reason(output: str) -> None:
    attacks = "\n".join(part(output, "Attacks on an open edge"))
    assert attacks.count("✓") == 7
    for shown, reason in {
        "its own, expired": "it has expired",
        "fulfilment's": "not one of its peers",
        "staging/checkout's": "trusts no such root",
        "none": "asks for a certificate",
        "its own, by TLS 1.2": "TLS 1.3 only",
        "none, plain HTTP": "that is not TLS",
        "an impostor's": "checkout: that is not payments",
    }.items():
        assert re.search(f"  {shown} +(pass +)?refused +{reason} *$", attacks, re.MULTILINE), shown


def assert_tokens_say_what_they_must_and_no_others_count(output: str) -> None:
    hops = "\n".join(part(output, "On whose behalf"))
    for row in (
        "✓ checkout → payments +payments.charge +alice, acme +ledger.post orders.place payments.ch",
        "✓ payments → finance/ledger +ledger.post +alice, acme +ledger.post *$",
        "the request's ID at every hop: [0-9a-f-]{36}$",
    ):
        assert re.search(row, hops, re.MULTILINE), row
    attacks = "\n".join(part(output, "Attacks with headers and tokens"))
    assert attacks.count("✓") == 8
    for sent, answer in {
        "checkout's tokens and X-Forwarded-Client-Cert": "403 caller-not-accepted",
        "X-User and X-Tenant, no Txn-Token": "403 transaction-missing",
        "Txn-Token, and X-Tenant: globex": "200",
        "its token for the ledger": "401 token-audience",
        "its token, unsigned, with alg=none": "401 token-algorithm",
        "a token that expired 5 minutes ago": "401 token-expired",
        "a token that begins in 5 minutes": "401 token-not-yet-valid",
        "a token stolen from payments": "401 token-holder",
    }.items():
        sentence = r"\n    [A-Z].+[.a-z] *$"
        assert re.search(f"  {sent} +{answer} *{sentence}", attacks, re.MULTILINE), sent
    revoked = "\n".join(part(output, "An edge is taken back"))
    found = re.search(r"✓ the issuer gives checkout no token .*, (\d+) ms later:", revoked)
    assert found
    assert int(found[1]) <= WITHIN * 1000
    assert "invalid_target" in revoked
    assert re.search("✓ ledger refuses the one that .* 403 caller-not-accepted", revoked)


def assert_messages_are_refused_by_the_broker_itself(output: str, broker: BrokerName) -> None:
    words = {
        BrokerName.NATS: (
            *('permissions violation for publish to "prod.orders.v1"', "audit", "fulfilment"),
            *('permissions violation for publish to "prod.payments.v1"', "Authorization Violation"),
        ),
        BrokerName.KAFKA: (
            *("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"),
            *("GROUP_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"),
            "invalid credentials with SASL mechanism SCRAM-SHA-256",
        ),
    }
    acted = "\n".join(part(output, "Messages: who publishes and who consumes"))
    assert f"kubectl apply -f examples/messages/{broker}.yaml" in acted
    for row in (
        "✓ checkout +publishes an order to prod.orders.v1 ",
        r'✓ fulfilment +consumes the order as fulfilment +\{"order": "1001", .*\}$',
        "✓ +puts it aside on prod.orders.v1.dlq ",
        "identity.json has the policy's schema",
    ):
        assert re.search(row, acted, re.MULTILINE), row
    refused = re.findall(r"^✓ .* refused *\n    (.+)$", acted, re.MULTILINE)
    assert len(refused) == len(words[broker])
    for said, expected in zip(refused, words[broker], strict=True):
        assert expected in said
    ended = "\n".join(part(output, "A policy is deleted"))
    found = re.search(r"✓ checkout's open .* (\d+) ms after the command began", ended)
    assert found
    assert int(found[1]) <= ENDS_WITHIN * 1000
    assert re.search("✓ checkout logs in anew, with the file that it still has: refused", ended)
    assert "✓ the policy is gone, and so is the Secret checkout-main" in ended


def assert_webhooks_are_let_through_only_as_they_were_signed(output: str) -> None:
    sent = "\n".join(part(output, "Webhooks: what the gateway lets through"))
    expected = {
        "a charge, signed by its library": ("200 settle-charge", "verified", "new"),
        "the same once more": ("200 done-already", "verified", "repeated"),
        "one signed 10 minutes ago": ("401 timestamp-too-old", "refused", "not-asked"),
        "one with another amount": ("401 signature-wrong", "refused", "not-asked"),
        "unsigned, from its address": ("401 signature-missing", "refused", "not-asked"),
        "signed, from another address": ("403 address-unexpected", "not-asked", "not-asked"),
        "an order, signed with Troth's secret": ("200 take-order", "verified", "new"),
    }
    assert sent.count("✓") == len(expected) + 1
    for about, (answer, verification, replay) in expected.items():
        row = rf"✓ .*{about} +{answer} *\n((?:    .+\n?)+)"
        found = re.search(row, sent)
        assert found, about
        line = json.loads("".join(each.strip() for each in found[1].splitlines()))
        assert (line["verification"], line["replay"]) == (verification, replay)
        assert answer == f"{line['status']} {line['reason'] or line['workflow']}"
        assert bool(line["txn"]) is (replay == "new")
    past = "\n".join(part(output, "Past the gateway"))
    assert re.search("✓ checkout → settlements .* 403 caller-not-accepted", past)
    assert re.search("✓ troth-gateway → settlements .* 403 webhook-token-missing", past)
    turned = "\n".join(part(output, "A sender's second key"))
    found = re.search(r"✓ a charge, signed with the new key, (\d+) ms after .*: 200", turned)
    assert found
    assert int(found[1]) <= COUNTS_WITHIN * 1000
    assert '"key_id":"k2"' in turned.replace("\n    ", "")
    assert "✓ one signed with the old key: 200 settle-charge" in turned


def assert_nobody_noticed_that_the_root_was_replaced(output: str) -> None:
    lines = part(output, "A root is replaced while everybody talks")
    phases = ("before", "Distributing", "Reissuing", "Retiring", "afterwards")
    counts = [
        int(count)
        for phase in phases
        for line in lines
        for count in re.findall(rf"^✓ {phase} +(\d+) handshakes, 0 failed ", line)
    ]
    assert len(counts) == len(phases)
    assert all(counts)
    after = lines.index(next(line for line in lines if line.startswith("✓ Distributing")))
    assert "The operator is killed" in lines[after + 1]
    assert re.match(
        rf"✓ {sum(counts)} handshakes, 0 failed, \d+ a second; [1-9]\d* were between", lines[-2]
    )
    assert f"{SERVICES} of {SERVICES} refused; the old root verifies nowhere" in lines[-1]


@pytest.mark.parametrize(
    ("tier", "broker"),
    [(Tier.NODE, BrokerName.NATS), (Tier.PROCESS_PODS, BrokerName.KAFKA)],
)
def test_on_a_node_it_proves_what_is_declared_and_leaves_nothing(
    tmp_path: Path, tier: Tier, broker: BrokerName
) -> None:
    skip_without(tier)
    if broker is BrokerName.KAFKA and java.missing():
        broker = BrokerName.NATS
    done = demo(tier, env=environment(tmp_path) | {"BROKER": broker})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything is as declared" in done.stdout
    assert "WRONG" not in done.stdout
    tried = "\n".join(part(done.stdout, "Who may call whom"))
    granted = [scope for scopes in Shop.read().agreed().values() for scope in scopes]
    passed = r"pass +mTLS 1\.3 +[a-z.]+"
    assert len(re.findall(f"{passed} granted", tried)) == len(granted)
    assert len(re.findall(f"{passed} refused", tried)) == len(granted)
    for row in (
        "✓ fulfilment → legacy/warehouse .* gatewayOnly .* pass  +plain",
        "✓ the public → checkout .* unverified .* pass  +plain",
        "✓ fulfilment → payments .* by neither .* refused",
        "✓ finance/reporting → ledger .* by the caller alone .* refused",
        "✓ staging/checkout → shop/payments .* other trust domain .* refused",
        "✓ a stranger → payments .* no identity .* refused",
        "✓ checkout → legacy/warehouse .* not its gateway .* refused",
        "✓ every other pair .* refused",
    ):
        assert re.search(row, tried), row
    assert_attacks_fail_for_the_right_reason(done.stdout)
    assert "AwaitingCallee" in done.stdout
    assert re.search(r"put right within \d+ ms", done.stdout)
    assert re.search(r"calls meanwhile: \d+ refused by the packet filter", done.stdout)
    assert "once more afterwards: packets refused" in done.stdout
    assert_tokens_say_what_they_must_and_no_others_count(done.stdout)
    assert_messages_are_refused_by_the_broker_itself(done.stdout, broker)
    assert_webhooks_are_let_through_only_as_they_were_signed(done.stdout)
    assert_nobody_noticed_that_the_root_was_replaced(done.stdout)
    assert len(done.stdout.splitlines()) <= HEIGHT
    assert_fit_to_be_shown(done)
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


def test_without_a_node_it_says_what_is_missing_and_proves_what_it_can(tmp_path: Path) -> None:
    programs = tmp_path / "programs"  # none
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = demo(env=environment(temporary) | {"PATH": str(programs)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything is as declared" in done.stdout
    assert "WRONG" not in done.stdout
    missing = " ".join(part(done.stdout, "Troth: what is declared works")[1:3])
    assert re.match("No pods and no packet filter here, only processes.*: a node needs ", missing)
    tried = "\n".join(part(done.stdout, "Who may call whom"))
    granted = [scope for scopes in Shop.read().agreed().values() for scope in scopes]
    assert len(re.findall(r"mTLS 1\.3 +[a-z.]+ granted", tried)) == len(granted)
    assert len(re.findall(r"mTLS 1\.3 +[a-z.]+ refused", tried)) == len(granted)
    for row in (
        "✓ fulfilment → payments .* refused +not one of its peers",
        "✓ finance/reporting → ledger .* refused +not one of its peers",
        "✓ staging/checkout → shop/payments .* refused +trusts no such root",
        "✓ a stranger → payments .* refused +asks for a certificate",
    ):
        assert re.search(row, tried), row
    assert_attacks_fail_for_the_right_reason(done.stdout)
    assert "AwaitingCallee" in done.stdout
    assert re.search(r"put right within \d+ ms", done.stdout)
    assert_tokens_say_what_they_must_and_no_others_count(done.stdout)
    assert_messages_are_refused_by_the_broker_itself(done.stdout, BrokerName.NATS)
    assert_webhooks_are_let_through_only_as_they_were_signed(done.stdout)
    assert_fit_to_be_shown(done)
    assert not list(temporary.iterdir())
    assert not processes_of(tmp_path)


def test_it_fails_where_a_service_accepts_whom_it_should_not(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    checkout = mutated(tmp_path, "sandbox/demo/service.py", "if (entry[", "if True or (entry[")
    done = demo(Tier.CONTROL_PLANE, env=environment(temporary), checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search("✗ fulfilment → payments .* WRONG", done.stdout)
    assert "Everything is as declared" not in done.stdout


def test_it_fails_where_what_has_expired_is_taken_and_a_broker_lets_others_consume(
    tmp_path: Path,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    checks, table = "operator/troth/pki/token_checks.py", "operator/troth/brokers/nats/rules.py"
    checkout = mutated(tmp_path, checks, "if now - _LEEWAY >= expires:", "if False:")
    mutate(checkout / table, "MSG.NEXT.{consumer}", "MSG.NEXT.{grant.stream}.*")
    times = "operator/troth/webhooks/schemes/timestamps.py"
    mutate(checkout / times, "if now - timestamp > tolerance:", "if False:")
    env = environment(temporary) | {"PYTHONPATH": str(checkout / "operator")}
    done = demo(Tier.CONTROL_PLANE, env=env, checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    attacks = "\n".join(part(done.stdout, "Attacks with headers and tokens"))
    assert re.search("✗ +a token that expired 5 minutes ago +WRONG", attacks)
    assert "expected 401 token-expired; seen: 200" in attacks
    assert attacks.count("✓") == 7
    messages = "\n".join(part(done.stdout, "Messages: who publishes and who consumes"))
    assert re.search("✗ +consumes prod.orders.v1 as audit +WRONG", messages)
    assert "expected a refusal" in messages
    assert messages.count("WRONG") == 1
    webhooks = "\n".join(part(done.stdout, "Webhooks: what the gateway lets through"))
    assert re.search("✗ +one signed 10 minutes ago +WRONG", webhooks)
    assert "expected 401 timestamp-too-old; seen: 200 settle-charge" in webhooks
    assert webhooks.count("WRONG") == 1
    assert "Everything is as declared" not in done.stdout


def test_it_fails_where_packets_pass_that_should_not(tmp_path: Path) -> None:
    skip_without(Tier.NODE)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    supervisor = "sandbox/node/supervisor.py"
    start = "        self._firewall.start()\n        async with inwards"
    checkout = mutated(tmp_path, supervisor, start, "        async with inwards")
    done = demo(Tier.NODE, env=environment(temporary), checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    tried = "\n".join(part(done.stdout, "Who may call whom"))
    for row in (
        "✗ fulfilment → payments .* pass +refused +WRONG",
        "✗ checkout → legacy/warehouse .* pass +plain +WRONG",
        r"✗ every other pair \(\d+ of \d+\) .* pass .* WRONG",
        "✓ checkout → payments .* pass +mTLS 1.3 +payments.charge granted",
        "expected a refusal by the packet filter; seen: handshake by server: bad certificate",
    ):
        assert re.search(row, tried), row
    assert re.search("✗ WRONG a stranger → payments, once more afterwards", done.stdout)
    assert "Everything is as declared" not in done.stdout


def test_it_fails_where_a_root_is_dropped_that_is_still_in_use(tmp_path: Path) -> None:
    skip_without(Tier.PROCESS_PODS)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    handover = "operator/troth/planning/rotation/handover.py"
    checkout = mutated(tmp_path, handover, "if credential.old_compromised:", "if True:")
    env = environment(temporary) | {"PYTHONPATH": str(checkout / "operator")}
    done = demo(Tier.PROCESS_PODS, env=env, checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^✗ \w+ +\d+ handshakes, [1-9]\d* failed", done.stdout, re.MULTILINE)
    assert re.search(r"✗ WRONG \d+ handshakes, [1-9]\d* failed", done.stdout)
    assert "unknown certificate authority" in done.stdout
    assert "Everything is as declared" not in done.stdout


def test_it_can_be_kept_and_ended(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "troth-sandbox"
    cache.mkdir(parents=True)
    for folder in ("tools", "packages"):  # a cache of the test's own, but for what was built
        (cache_directory() / folder).mkdir(parents=True, exist_ok=True)
        (cache / folder).symlink_to(cache_directory() / folder)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = environment(temporary) | {"XDG_CACHE_HOME": str(cache.parent), "KEEP": "1"}

    def sandbox(command: str) -> str:
        return subprocess.check_output(
            [sys.executable, "-m", "sandbox", command, "--name", "demo"],
            cwd=REPOSITORY,
            env=env,
            text=True,
        )

    try:
        done = demo(env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "It stays up" in done.stdout
        shell = f"{sandbox('env')}\nkubectl get serviceidentities --all-namespaces --output json"
        found = json.loads(subprocess.check_output(["sh", "-c", shell], env=env))
        kept = len(Shop.read().identities) + (SERVICES if choosing.best()[0].has_node else 0)
        assert len(found["items"]) == kept
        assert any("troth.cli" in line for line in processes_of(cache))
    finally:
        ended = sandbox("down")
    assert "is down" in ended
    assert becomes(lambda: not processes_of(tmp_path) and not list(temporary.iterdir()))


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "operator" in line:
                break
        assert any("troth.cli" in line for line in processes_of(tmp_path))
        os.killpg(running.pid, signal.SIGINT)
        assert "nothing is left behind" in running.stdout.read()
    assert running.returncode == 130
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


# a background job ignores Ctrl-C unless it asks for it
FOREGROUND = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["demo"]
runpy.run_module("sandbox.demo", run_name="__main__")
"""


def test_it_says_which_brokers_there_are(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "BROKER": "pigeons"})
    assert done.returncode == 2
    assert "There is a demo with nats and one with kafka" in done.stdout


def test_it_will_not_use_a_cluster_of_the_persons(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "TROTH_SANDBOX_KUBECONFIG": "/somebody/elses"})
    assert done.returncode == 2
    assert "unset TROTH_SANDBOX_KUBECONFIG" in done.stdout
