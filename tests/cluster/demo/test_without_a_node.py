"""The demo without a node: it says what is missing, and runs all other trials."""

import re
from pathlib import Path

import pytest

from sandbox import ensure
from sandbox.demo import setting
from sandbox.demo.setting import Act, BrokerName
from tests.cluster.demo.output import (
    CALLS,
    DRIFT,
    assert_all_trials_are_right,
    assert_attacks_are_rejected_for_the_right_reason,
    assert_broker_rejects_undeclared_use,
    assert_consumer_rejects_forged_events,
    assert_declared_scopes_are_granted,
    assert_fit_to_be_shown,
    assert_gateway_accepts_only_signed_deliveries,
    assert_only_valid_tokens_are_accepted,
    assert_rows,
    assert_two_people_decide_about_dead_letters,
    part,
)
from tests.cluster.demo.running import demo, environment
from tests.sandbox.observing import processes_of


@pytest.mark.long
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
    assert_consumer_rejects_forged_events(done.stdout, BrokerName.NATS)
    assert_two_people_decide_about_dead_letters(done.stdout, BrokerName.NATS)
    assert_gateway_accepts_only_signed_deliveries(done.stdout)
    assert_fit_to_be_shown(done)
    assert not list(temporary.iterdir())
    assert not processes_of(tmp_path)


@pytest.mark.long
def test_with_kubebuilder_assets_alone_it_builds_nothing(tmp_path: Path) -> None:
    assets, temporary = tmp_path / "assets", tmp_path / "temporary"
    for directory in (assets, temporary):
        directory.mkdir()
    for program in setting.ENVTEST:
        (assets / program).symlink_to(ensure(program))
    cache = tmp_path / "cache"
    env = environment(temporary) | {"KUBEBUILDER_ASSETS": str(assets), "XDG_CACHE_HOME": str(cache)}
    # without controllers, nothing deletes owned objects: a broker's are deleted by the operator
    acts = Act.CALLS, Act.MESSAGES, Act.EVENTS
    done = demo(*acts, env=env | {"PATH": str(tmp_path / "no-programs")})
    assert_all_trials_are_right(done)
    assert "etcd and API server of KUBEBUILDER_ASSETS" in done.stdout
    assert_attacks_are_rejected_for_the_right_reason(done.stdout)
    assert_broker_rejects_undeclared_use(done.stdout, BrokerName.NATS)
    assert_consumer_rejects_forged_events(done.stdout, BrokerName.NATS)
    assert_two_people_decide_about_dead_letters(done.stdout, BrokerName.NATS)
    assert_fit_to_be_shown(done)
    assert not cache.exists()
    assert not list(temporary.iterdir())
    assert not processes_of(tmp_path)
