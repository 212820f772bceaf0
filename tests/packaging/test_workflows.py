"""The workflows of .github: valid, least privilege, and in step with the repository."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import ensure
from tests.gate.sizes import Size
from tests.packaging.distributions import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

# The stored copies of its repository, from which the other commits are known, have no current one.
BY_BRANCH = {"pypa/gh-action-pypi-publish@release/v1"}


@every_workflow
def test_actionlint_finds_nothing(path: Path) -> None:
    # Without programs that only some machines have.
    command: list[str | Path] = [
        ensure("actionlint"),
        "-no-color",
        "-shellcheck=",
        "-pyflakes=",
        path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@every_workflow
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    for uses in re.findall(r"uses: (\S+.*)", path.read_text()):
        if uses not in BY_BRANCH and not uses.startswith("./"):
            assert re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses), uses


@every_workflow
def test_jobs_may_only_read_unless_they_say_more(path: Path) -> None:
    assert _workflow(path)["permissions"] == {"contents": "read"}


@every_workflow
def test_checkout_leaves_no_credentials(path: Path) -> None:
    for step in _steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


def test_small_tests_run_on_every_python_and_the_gate_on_kubernetes() -> None:
    assert f"--sizes={Size.SMALL}" in _commands("python")[-1]
    assert "make test" in _commands("kubernetes")


def test_oldest_kubernetes_of_the_chart_is_tested() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "troth" / "Chart.yaml").read_text())
    oldest = re.fullmatch(r">=(\d+\.\d+)\.0-0", chart["kubeVersion"])
    assert oldest
    matrix = _workflow(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["kubernetes"]
    assert oldest[1] in matrix["strategy"]["matrix"]["release"]
    assert (ROOT / "sandbox" / "tools" / f"kubernetes-{oldest[1]}" / "go.mod").exists()


def test_commands_in_a_pipe_fail_their_step() -> None:
    for path in WORKFLOWS:
        runs = [step.get("run", "") for step in _steps(path)]
        if any(" | " in run for run in runs):
            assert _workflow(path)["defaults"] == {"run": {"shell": "bash"}}


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_form_of_an_issue_has_what_github_needs(form: str) -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text()
    loaded = yaml.safe_load(text)
    assert {"name", "description", "labels", "body"} == set(loaded)
    inputs = [each for each in loaded["body"] if each["type"] != "markdown"]
    assert len({each["id"] for each in inputs}) == len(inputs)
    assert all(each["attributes"]["label"] for each in inputs)


def _commands(job: str) -> list[str]:
    """Return the commands that a job of the workflow of tests runs."""
    steps = _workflow(ROOT / ".github" / "workflows" / "test.yml")["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step]


def _steps(path: Path) -> list[dict[str, Any]]:
    jobs = _workflow(path)["jobs"].values()
    return [step for job in jobs for step in job.get("steps", ())]


def _workflow(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded
