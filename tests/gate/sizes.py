"""Sizes of test files, and the option `--sizes` that selects files by them.

A size says what a test may use, and so where it runs. `make test` runs `small` and `medium`, whose
results depend on the commit alone. `make test-all` runs every size.
"""

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Size(StrEnum):
    """What a test may use."""

    SMALL = "small"
    """This process, files, loopback, Valkey and NATS; no program that the sandbox builds."""
    MEDIUM = "medium"
    """A control plane, brokers and judges; waits for conditions, and no upper bound on time."""
    LARGE = "large"
    """Also real-time windows, a node, an image, a package index, or many minutes."""
    ALONE = "alone"
    """Assertions about the whole machine, or heavy: one file at a time, on a quiet machine."""


TIMEOUTS = {Size.SMALL: 300, Size.MEDIUM: 300, Size.LARGE: 600, Size.ALONE: 900}
"""Seconds that one test may take, with the fixtures that it is the first to use."""

SIZES = {
    Size.SMALL: """
        audit auditor benchmarks cli cluster_unit documents edge guides issuer leaks net pki
        planning reconcile replay resources review sandbox/demo/test_removal.py
        sandbox/test_crds.py serving trust webhooks website world
    """,
    Size.MEDIUM: """
        audit/reports/test_sarif.py benchmarks/test_brokers.py brokers chart judges packaging
        cluster/auditor/test_auditor.py
        cluster/brokers/test_user_changes.py cluster/findings cluster/reviews/test_agreement.py
        cluster/reviews/test_four_eyes.py cluster/test_atomic_conditions.py
        cluster/test_audit_command.py cluster/test_budgets.py cluster/test_chart.py
        cluster/test_children.py cluster/test_conflicts.py cluster/test_crds.py
        cluster/test_expiry.py cluster/test_first_apply.py cluster/test_gateway.py
        cluster/test_messaging.py cluster/test_missing_rights.py cluster/test_narrowing.py
        cluster/test_references.py cluster/test_schema_files.py cluster/test_some_namespaces.py
        cluster/test_status.py
        cluster/test_terminating.py cluster/test_tokens.py cluster/test_used_rights.py
        cluster/test_webhook_crd.py cluster/webhooks/test_life.py
        guides/test_operations.py reconcile/brokers/kafka reconcile/brokers/test_crashes.py
        review/kafka review/nats review/test_connecting.py sandbox/demo/test_installation.py
        sandbox/demo/test_namespaces.py
    """,
    Size.LARGE: """
        benchmarks/test_simulation.py benchmarks/test_workers.py
        brokers/kafka/test_event_crashes.py brokers/kafka/test_outages.py campaign
        cli/check/test_integrations.py cli/test_daemons.py cli/test_habits.py cluster
        edge/events/fuzz edge/inbound/connections/test_silent_clients.py
        edge/outbound/test_servers.py gitops
        issuer/test_serving.py issuer/test_workers.py packaging/test_distribution.py
        reconcile/brokers/kafka/test_attacks.py reconcile/brokers/kafka/test_outages.py
        reconcile/test_clock_jumps.py review/kafka/test_kills.py review/kafka/test_outages.py
        review/nats/test_kills.py review/nats/test_outages.py sandbox serving/workers truth
        webhooks/fuzz webhooks/gateway/attacks/test_slow_senders.py
        webhooks/gateway/attacks/test_table.py webhooks/gateway/forwarding/test_client.py
        webhooks/gateway/test_failover.py webhooks/gateway/test_replicas.py
        webhooks/gateway/test_workers.py
    """,
    Size.ALONE: """
        cluster/demo cluster/test_leaks.py gitops/test_flux.py sandbox/test_agent_pod.py
        sandbox/test_image_pods.py sandbox/test_node_end.py sandbox/test_processes.py
        truth/test_rotation_under_traffic.py
    """,
}
"""Folders and files below `tests`. The longest path that matches a file gives its size."""

_BY_PATH = {path: size for size, paths in SIZES.items() for path in paths.split()}


@cache
def size_of(file: str) -> Size | None:
    """Return the size of a file below `tests`, such as `edge/test_shop.py`; None if unknown."""
    parts = Path(file).parts
    for length in range(len(parts), 0, -1):
        if size := _BY_PATH.get("/".join(parts[:length])):
            return size
    return None


def files_below(only: Iterable[str] = ()) -> dict[Size | None, list[str]]:
    """Return the test files below folders and files of `tests`, by size; all files if none."""
    tests = ROOT / "tests"
    found: dict[Size | None, list[str]] = defaultdict(list)
    for place in only or ("",):
        path = tests / place
        for file in [path] if path.is_file() else sorted(path.rglob("test_*.py")):
            name = file.relative_to(tests).as_posix()
            found[size_of(name)].append(name)
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--sizes`."""
    parser.addoption("--sizes", metavar="SIZE,...", help="collect only files of these sizes")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore files of other sizes, so that nothing imports them."""
    chosen = config.getoption("--sizes")
    if not chosen or not collection_path.name.startswith("test_"):
        return None
    size = _size(collection_path)
    return True if size and size not in chosen.split(",") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the timeout of its size."""
    for item in items:
        size = _size(item.path)
        if size and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUTS[size]))


def _size(path: Path) -> Size | None:
    tests = ROOT / "tests"
    if not path.is_relative_to(tests):
        return None
    return size_of(path.relative_to(tests).as_posix())
