"""The demo with a node: every trial passes, nothing is left, and a kept cluster stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Tier, java, unavailable
from sandbox.cache import cache_directory
from sandbox.demo.rotation.fleet import SERVICES
from sandbox.demo.setting import Act, BrokerName
from sandbox.demo.shop import Place, Shop
from tests.cluster.demo.output import (
    HEIGHT,
    assert_all_trials_are_right,
    assert_broker_rejects_undeclared_use,
    assert_calls_are_as_declared_on_a_node,
    assert_consumer_rejects_forged_events,
    assert_fit_to_be_shown,
    assert_gateway_accepts_only_signed_deliveries,
    assert_no_call_fails_while_the_root_is_replaced,
    assert_only_valid_tokens_are_accepted,
    assert_two_people_decide_about_dead_letters,
)
from tests.cluster.demo.running import demo, environment
from tests.sandbox.nodes import skip_without
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

CHANGED = Act.EVENTS, Act.ROTATION, Act.MESSAGES, Act.CALLS  # in any order
"""The acts that pods as processes and Kafka change: tokens and webhooks use neither."""


def test_all_trials_pass_on_a_node_and_nothing_is_left(tmp_path: Path) -> None:
    skip_without(Tier.NODE)
    done = demo(f"--tier={Tier.NODE}", env=environment(tmp_path))
    assert_all_trials_are_right(done)
    assert_calls_are_as_declared_on_a_node(done.stdout)
    assert_only_valid_tokens_are_accepted(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, BrokerName.NATS)
    assert_consumer_rejects_forged_events(done.stdout, BrokerName.NATS)
    assert_two_people_decide_about_dead_letters(done.stdout, BrokerName.NATS)
    assert_gateway_accepts_only_signed_deliveries(done.stdout)
    assert_no_call_fails_while_the_root_is_replaced(done.stdout)
    assert len(done.stdout.splitlines()) <= HEIGHT
    assert_fit_to_be_shown(done)
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


@pytest.mark.long
def test_kept_cluster_runs_until_it_is_removed(tmp_path: Path) -> None:
    """It has pods as processes and the operator that the act of rotation starts again.

    Where no pods can run, it has neither.
    """
    cache = tmp_path / "cache" / "troth-sandbox"
    cache.mkdir(parents=True)
    for folder in ("tools", "packages"):  # a separate cache, except for build results
        (cache_directory() / folder).mkdir(parents=True, exist_ok=True)
        (cache / folder).symlink_to(cache_directory() / folder)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    broker = BrokerName.NATS if java.missing() else BrokerName.KAFKA
    kept = {"XDG_CACHE_HOME": str(cache.parent), "KEEP": "1", "BROKER": broker}
    env = environment(temporary) | kept

    def sandbox(command: str) -> str:
        return subprocess.check_output(
            [sys.executable, "-m", "sandbox", command, "--name", "demo"],
            cwd=REPOSITORY,
            env=env,
            text=True,
        )

    has_pods = unavailable(Tier.PROCESS_PODS) is None
    chosen = (f"--tier={Tier.PROCESS_PODS}", *CHANGED) if has_pods else (Act.CALLS,)
    try:
        done = demo(*chosen, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WRONG" not in done.stdout
        if has_pods:
            assert_chosen_acts_pass_on(broker, done)
        assert "keep running" in done.stdout
        shell = f"{sandbox('env')}\nkubectl get serviceidentities --all-namespaces --output json"
        found = json.loads(subprocess.check_output(["sh", "-c", shell], env=env))
        places = {Place.of(each) for each in found["items"]}
        assert places >= set(Shop.read().identities)
        assert sum(each.name.startswith("service-") for each in places) == SERVICES * has_pods
        assert any("troth.cli" in line for line in processes_of(cache))
    finally:
        ended = sandbox("down")
    assert "is down" in ended
    assert becomes(lambda: not processes_of(tmp_path) and not list(temporary.iterdir()))


def assert_chosen_acts_pass_on(broker: BrokerName, done: subprocess.CompletedProcess[str]) -> None:
    assert_calls_are_as_declared_on_a_node(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, broker)
    assert_consumer_rejects_forged_events(done.stdout, broker)
    assert_two_people_decide_about_dead_letters(done.stdout, broker)
    assert_no_call_fails_while_the_root_is_replaced(done.stdout)
    for other in ("Tokens: ", "Webhooks: "):
        assert other not in done.stdout
    assert_fit_to_be_shown(done)
