"""The demo as a user runs it: every trial passes, it exits, and it cleans up."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from sandbox import Tier, ensure, java
from sandbox.cache import cache_directory
from sandbox.demo import setting
from sandbox.demo.messages.table import WITHIN as DELETED_WITHIN
from sandbox.demo.rotation.fleet import SERVICES
from sandbox.demo.setting import Act, BrokerName
from sandbox.demo.shop import Shop
from sandbox.demo.tokens.table import WITHIN as REVOKED_WITHIN
from sandbox.demo.webhooks.table import WITHIN as ACCEPTED_WITHIN
from tests.sandbox.nodes import skip_without
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

SECONDS = 300
CALLS, DRIFT = "Calls: only edges", "Drift: a NetworkPolicy"
WIDTH, HEIGHT = 100, 215  # terminal size that shows all of the output


def environment(temporary: Path) -> dict[str, str]:
    """Return the user's environment without a cluster, and with a temporary directory."""
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
    """Return a checkout in which one file has different content."""
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
    """Return the lines below a title."""
    (_, text) = re.split(f"^{title}.*$", output, flags=re.MULTILINE)
    return list(text.partition("\n\n")[0].splitlines())


def assert_fit_to_be_shown(done: subprocess.CompletedProcess[str]) -> None:
    assert all(len(line) <= WIDTH for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout, "no escape codes where there is no terminal"
    for secret in ("PRIVATE KEY", "eyJ", "whsec_", "valkey://"):
        assert secret not in done.stdout + done.stderr


def rows(output: str, title: str) -> list[tuple[str, str]]:
    """Return the passing rows of a table, each with the quote below it."""
    found: list[tuple[str, str]] = []
    for line in part(output, title):
        if line.startswith("✓ "):
            found.append((line.rstrip(), ""))
        elif found and line.startswith("    "):
            row, quote = found[-1]
            found[-1] = row, quote + line.removeprefix("    ")
    return found


def assert_rows(output: str, title: str, *expected: str) -> list[tuple[str, str]]:
    """Assert that each row of a table, after its steps, matches its pattern."""
    found = [each for each in rows(output, title) if not re.search(r" \d+\.\d s$", each[0])]
    assert len(found) == len(expected), found
    for (row, _), pattern in zip(found, expected, strict=True):
        assert re.search(f"{pattern}$", row), (row, pattern)
    return found


def milliseconds(row: str) -> int:
    found = re.search(r" after (\d+) ms$", row)
    assert found, row
    return int(found[1])


def assert_attacks_are_rejected_for_the_right_reason(output: str) -> None:
    assert_rows(
        output,
        "Attacks on an open edge",
        "its own, expired +(pass +)?rejected +certificate expired",
        "fulfilment's +(pass +)?rejected +caller not accepted",
        "staging/checkout's +(pass +)?rejected +unknown root",
        "none +(pass +)?rejected +certificate required",
        "its own, over TLS 1.2 +(pass +)?rejected +TLS 1.3 required",
        "none, over plain HTTP +(pass +)?rejected +TLS required",
        "callee shows recommendations' +(pass +)?rejected +callee is not payments",
    )


def assert_only_valid_tokens_are_accepted(output: str) -> None:
    title = "Tokens: each service knows"
    assert_rows(
        output,
        title,
        "checkout → payments +payments.charge +alice, acme +ledger.post orders.place payments.ch.*",
        "payments → finance/ledger +ledger.post +alice, acme +ledger.post",
    )
    assert re.search("Request ID of all calls: [0-9a-f-]{36}", "\n".join(part(output, title)))
    attacks = assert_rows(
        output,
        "Attacks with headers and tokens",
        "checkout's tokens and X-Forwarded-Client-Cert +403 caller-not-accepted",
        "X-User and X-Tenant, no Txn-Token +403 transaction-missing",
        "Txn-Token, and X-Tenant: globex +200",
        "a token for ledger +401 token-audience",
        "its token, unsigned, with alg=none +401 token-algorithm",
        "a token that expired 5 minutes ago +401 token-expired",
        "a token that is valid in 5 minutes +401 token-not-yet-valid",
        "a token stolen from payments +401 token-holder",
    )
    assert all(re.search(r"^[A-Z].+\. *$", quote) for _, quote in attacks)
    issuer, _ = assert_rows(
        output,
        "Revocation",
        "requests a token for ledger +rejected after .*",
        "sends a token from before +403 caller-not-accepted after .*",
    )
    assert milliseconds(issuer[0]) <= REVOKED_WITHIN * 1000
    assert "invalid_target" in issuer[1]


DENIALS = {
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


def assert_broker_rejects_undeclared_use(output: str, broker: BrokerName) -> None:
    title = "Messages: the broker accepts only"
    assert f"kubectl apply -f examples/messages/{broker}.yaml" in "\n".join(part(output, title))
    found = assert_rows(
        output,
        title,
        "checkout +publishes an order to prod.orders.v1 .*",
        "publishes an invalid order to prod.orders.v1 .*",
        r'fulfilment +consumes the order as fulfilment +\{"order": "1001", .*\}',
        r'consumes the invalid order as fulfilment +\{"order": "1002"\}',
        "validates both by identity.json +one is invalid",
        "publishes it to prod.orders.v1.dlq .*",
        *["rejected"] * len(DENIALS[broker]),
    )
    for (_, quote), expected in zip(found[-len(DENIALS[broker]) :], DENIALS[broker], strict=True):
        assert expected in quote
    deleted = assert_rows(
        output,
        "A deleted policy",
        "checkout +uses its open connection +rejected after .*",
        "logs in again +rejected after .*",
        "get topicpolicy orders --namespace shop +not found after .*",
        "get secret checkout-main --namespace shop +not found after .*",
    )
    assert milliseconds(deleted[0][0]) <= DELETED_WITHIN * 1000


def assert_gateway_accepts_only_signed_deliveries(output: str) -> None:
    expected = {
        "an order, signed with Troth's key": ("200 take-order", "verified", "new"),
        "a charge, signed by its library": ("200 settle-charge", "verified", "new"),
        "the same again": ("200 done-already", "verified", "repeated"),
        "one signed 10 minutes ago": ("401 timestamp-too-old", "refused", "not-asked"),
        "one with a changed amount": ("401 signature-wrong", "refused", "not-asked"),
        "one without a signature": ("401 signature-missing", "refused", "not-asked"),
        "one from another address": ("403 address-unexpected", "not-asked", "not-asked"),
    }
    patterns = [f"{action} +{answer}" for action, (answer, _, _) in expected.items()]
    found = assert_rows(output, "Webhooks: the gateway accepts", *patterns)
    for (_, quote), (answer, verification, replay) in zip(found, expected.values(), strict=True):
        line = json.loads(quote.rstrip())
        assert (line["verification"], line["replay"]) == (verification, replay)
        assert answer == f"{line['status']} {line['reason'] or line['workflow']}"
        assert bool(line["txn"]) is (replay == "new")
    assert_rows(
        output,
        "Requests that bypass the gateway",
        "checkout → settlements .* 403 caller-not-accepted",
        "troth-gateway → settlements .* 403 webhook-token-missing",
    )
    new, _ = assert_rows(
        output,
        "A second signing key",
        "a charge, signed with k2 +200 settle-charge after .*",
        "a charge, signed with k1 +200 settle-charge",
    )
    assert milliseconds(new[0]) <= ACCEPTED_WITHIN * 1000
    assert json.loads(new[1])["key_id"] == "k2"


PHASES = ("before", "Distributing", "Reissuing", "Retiring", "afterwards")


def assert_no_call_fails_while_the_root_is_replaced(output: str) -> None:
    title = "Rotation: a root is replaced"
    lines = part(output, title)
    row = re.compile(r"^(.) (\w+) +(\d+) handshakes, (\d+) failed ")
    found = [match.groups() for match in map(row.match, lines) if match]
    seen = [phase for _, phase, _, _ in found]
    # the demo shows a phase when it observes it; the operator may pass a short one unobserved
    assert seen == [phase for phase in PHASES if phase in seen]
    assert {"before", "Distributing", "afterwards"} <= set(seen)
    assert all(mark == "✓" and failed == "0" and int(calls) for mark, _, calls, failed in found)
    counts = [int(calls) for _, _, calls, _ in found]
    after = lines.index(next(line for line in lines if line.startswith("✓ Distributing")))
    assert "The operator is killed" in lines[after + 1]
    assert_rows(
        output,
        title,
        rf"{sum(counts)} handshakes, 0 failed, \d+/s, [1-9]\d* across roots",
        f"presents an old certificate +{SERVICES} of {SERVICES} rejected",
    )


def assert_all_trials_are_right(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All trials ended as expected" in done.stdout
    assert "WRONG" not in done.stdout


def assert_declared_scopes_are_granted(output: str, passed: str) -> None:
    granted = [scope for scopes in Shop.read().agreed().values() for scope in scopes]
    for outcome in ("granted", "rejected"):
        assert len(re.findall(rf"{passed}mTLS 1\.3 +[a-z.]+ {outcome}", output)) == len(granted)


def assert_calls_are_as_declared_on_a_node(output: str) -> None:
    tried = "\n".join(part(output, CALLS))
    assert_declared_scopes_are_granted(tried, "pass +")
    for row in (
        "✓ fulfilment → legacy/warehouse .* gatewayOnly .* pass +plain",
        "✓ the public → checkout .* unverified .* pass +plain",
        "✓ fulfilment → payments .* by neither side .* rejected",
        "✓ finance/reporting → ledger .* by caller only .* rejected",
        "✓ staging/checkout → shop/payments .* another domain .* rejected",
        "✓ a stranger → payments .* no identity .* rejected",
        "✓ checkout → legacy/warehouse .* not its gateway .* rejected",
        "✓ every other pair .* rejected",
    ):
        assert re.search(row, tried), row
    assert_attacks_are_rejected_for_the_right_reason(output)
    assert "AwaitingCallee" in output
    assert_rows(
        output,
        DRIFT,
        r"opens shop/payments-troth to all +restored after \d+ ms",
        r"calls meanwhile +\d+ rejected by packet filter.*",
        "calls again afterwards +rejected",
    )


def test_all_trials_pass_on_a_node_and_nothing_is_left(tmp_path: Path) -> None:
    skip_without(Tier.NODE)
    done = demo(f"--tier={Tier.NODE}", env=environment(tmp_path))
    assert_all_trials_are_right(done)
    assert_calls_are_as_declared_on_a_node(done.stdout)
    assert_only_valid_tokens_are_accepted(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, BrokerName.NATS)
    assert_gateway_accepts_only_signed_deliveries(done.stdout)
    assert_no_call_fails_while_the_root_is_replaced(done.stdout)
    assert len(done.stdout.splitlines()) <= HEIGHT
    assert_fit_to_be_shown(done)
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


def test_chosen_acts_pass_with_pods_as_processes_and_nothing_is_left(tmp_path: Path) -> None:
    """The acts that this tier and Kafka change; tokens and webhooks use neither."""
    skip_without(Tier.PROCESS_PODS)
    broker = BrokerName.NATS if java.missing() else BrokerName.KAFKA
    acts = Act.ROTATION, Act.MESSAGES, Act.CALLS  # in any order
    done = demo(
        *(f"--tier={Tier.PROCESS_PODS}", *acts), env=environment(tmp_path) | {"BROKER": broker}
    )
    assert_all_trials_are_right(done)
    assert_calls_are_as_declared_on_a_node(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, broker)
    assert_no_call_fails_while_the_root_is_replaced(done.stdout)
    for other in ("Tokens: ", "Webhooks: "):
        assert other not in done.stdout
    assert_fit_to_be_shown(done)
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


def test_without_a_node_it_names_what_is_missing_and_runs_other_trials(tmp_path: Path) -> None:
    programs = tmp_path / "programs"  # none
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = demo(env=environment(temporary) | {"PATH": str(programs)})
    assert_all_trials_are_right(done)
    missing = " ".join(part(done.stdout, "Troth: declared calls work")[1:3])
    assert re.match("No pods and no packet filter, only processes.*: a node needs ", missing)
    tried = "\n".join(part(done.stdout, CALLS))
    assert_declared_scopes_are_granted(tried, "")
    for row in (
        "✓ fulfilment → payments .* rejected +caller not accepted",
        "✓ finance/reporting → ledger .* rejected +caller not accepted",
        "✓ staging/checkout → shop/payments .* rejected +unknown root",
        "✓ a stranger → payments .* rejected +certificate required",
    ):
        assert re.search(row, tried), row
    assert_attacks_are_rejected_for_the_right_reason(done.stdout)
    assert "AwaitingCallee" in done.stdout
    assert_rows(done.stdout, DRIFT, r"opens shop/payments-troth to all +restored after \d+ ms")
    assert_only_valid_tokens_are_accepted(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, BrokerName.NATS)
    assert_gateway_accepts_only_signed_deliveries(done.stdout)
    assert_fit_to_be_shown(done)
    assert not list(temporary.iterdir())
    assert not processes_of(tmp_path)


def test_with_kubebuilder_assets_alone_it_builds_nothing(tmp_path: Path) -> None:
    assets, temporary = tmp_path / "assets", tmp_path / "temporary"
    for directory in (assets, temporary):
        directory.mkdir()
    for program in setting.ENVTEST:
        (assets / program).symlink_to(ensure(program))
    cache = tmp_path / "cache"
    env = environment(temporary) | {"KUBEBUILDER_ASSETS": str(assets), "XDG_CACHE_HOME": str(cache)}
    # without controllers, nothing deletes owned objects: a broker's are deleted by the operator
    done = demo(Act.CALLS, Act.MESSAGES, env=env | {"PATH": str(tmp_path / "no-programs")})
    assert_all_trials_are_right(done)
    assert "etcd and API server of KUBEBUILDER_ASSETS" in done.stdout
    assert_attacks_are_rejected_for_the_right_reason(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, BrokerName.NATS)
    assert_fit_to_be_shown(done)
    assert not cache.exists()
    assert not list(temporary.iterdir())
    assert not processes_of(tmp_path)


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
    webhooks = "\n".join(part(done.stdout, "Webhooks: the gateway accepts"))
    assert re.search("✗ +one signed 10 minutes ago +WRONG", webhooks)
    assert "expected status: 401, reason: timestamp-too-old" in webhooks
    assert webhooks.count("WRONG") == 1
    assert "All trials ended as expected" not in done.stdout


def test_missing_packet_filter_or_root_dropped_while_in_use_fails(tmp_path: Path) -> None:
    """One run with a fault in each act that needs a node."""
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


def test_kept_cluster_runs_until_it_is_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "troth-sandbox"
    cache.mkdir(parents=True)
    for folder in ("tools", "packages"):  # a separate cache, except for build results
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

    has_node = setting.best()[0].has_node
    try:
        done = demo(Act.ROTATION if has_node else Act.CALLS, env=env)  # it kills the operator
        assert done.returncode == 0, done.stdout + done.stderr
        assert "keep running" in done.stdout
        shell = f"{sandbox('env')}\nkubectl get serviceidentities --all-namespaces --output json"
        found = json.loads(subprocess.check_output(["sh", "-c", shell], env=env))
        kept = len(Shop.read().identities) + (SERVICES if has_node else 0)
        assert len(found["items"]) == kept
        assert any("troth.cli" in line for line in processes_of(cache))
    finally:
        ended = sandbox("down")
    assert "is down" in ended
    assert becomes(lambda: not processes_of(tmp_path) and not list(temporary.iterdir()))


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
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
        assert "the cluster is removed" in running.stdout.read()
    assert running.returncode == 130
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


# a background job ignores Ctrl-C unless it asks for it
FOREGROUND = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["demo"]
runpy.run_module("sandbox.demo", run_name="__main__")
"""


def test_unknown_broker_is_rejected(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "BROKER": "pigeons"})
    assert done.returncode == 2
    assert "BROKER is 'pigeons'; set it to nats or kafka" in done.stdout


def test_act_that_needs_a_node_is_rejected_without_one(tmp_path: Path) -> None:
    done = demo(f"--tier={Tier.CONTROL_PLANE}", Act.ROTATION, env=environment(tmp_path))
    assert done.returncode == 2
    assert "The act rotation needs a node" in done.stdout


def test_other_clusters_are_not_used(tmp_path: Path) -> None:
    done = demo(env={**environment(tmp_path), "TROTH_SANDBOX_KUBECONFIG": "/somebody/elses"})
    assert done.returncode == 2
    assert "unset TROTH_SANDBOX_KUBECONFIG" in done.stdout
