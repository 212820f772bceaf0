"""The chart's alerts and dashboard, and the promtool that judges them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from sandbox import ensure
from tests.chart.rendering import CHART
from tests.patience import PATIENCE

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "dashboards" / "troth.json"


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"]
    return found


def alerts() -> list[dict[str, Any]]:
    """Return the alerts in the order of the file."""
    return [rule for group in groups() for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Return the panels with queries."""
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def queries() -> list[str]:
    """Return the queries of the dashboard, with Grafana's variable for the interval set."""
    targets = (target for panel in panels() for target in panel["targets"])
    return [target["expr"].replace("$__rate_interval", "5m") for target in targets]


def promtool(*arguments: str | Path, stdin: str = "") -> None:
    """Run promtool; fail with its output if it finds a fault."""
    command = [ensure("promtool"), *arguments]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expanded(template: str, labels: dict[str, str], value: str) -> str:
    """Return an annotation with its labels and its value."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], template)
    return re.sub(r"{{ \$value( \| \w+)? }}", value, text)
