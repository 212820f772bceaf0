"""The GitHub Action, the pre-commit hook and the GitLab job, run as their programs run them.

Their installation of Troth is not run here: it needs a package index.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.check.test_command import AGREED, NAMESPACE, REST
from tests.cli.shop import SHOP, written
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
JOB = yaml.safe_load((ROOT / "ci" / "troth-check.gitlab-ci.yml").read_text())["troth-check"]


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """Return an installed `troth` in a folder of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "troth"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m troth.cli "$@"\n')
    script.chmod(0o755)
    return script


def run(script: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")} | variables
    return subprocess.run(
        script,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


# GitHub


def act(folder: Path, command: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of the action with these inputs, as GitHub's runner does."""
    given = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    given["command"] = str(command)

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: given[match[1]], text)

    ended = None
    for step in ACTION["runs"]["steps"]:
        if step.get("if") == "inputs.command == ''":
            continue
        variables = {name: filled(value) for name, value in step["env"].items()}
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        variables |= {"GITHUB_STEP_SUMMARY": str(folder / "page.md"), "RUNNER_TEMP": "/nowhere"}
        ended = run(shell, folder, **variables)
    assert ended is not None
    return ended


def test_action_annotates_findings_and_fails(tmp_path: Path, command: Path) -> None:
    written(tmp_path)
    ended = act(tmp_path, command, path="shop.yaml")
    assert ended.returncode == 1, ended
    assert ended.stdout.startswith("::error file=shop.yaml,line=35,title=PeerMissing::")
    assert "1 error" in (tmp_path / "page.md").read_text()


def test_action_passes_for_correct_manifests_of_several_paths(
    tmp_path: Path, command: Path
) -> None:
    (tmp_path / "a folder").mkdir()
    written(tmp_path / "a folder", REST)
    (tmp_path / "namespaces.yaml").write_text(NAMESPACE)
    assert act(tmp_path, command, path="a folder\n\nnamespaces.yaml\n").returncode == 0
    assert act(tmp_path, command, path="a folder", assume="namespaces.yaml").returncode == 0
    labels = "shop,environment=production"
    assert act(tmp_path, command, path="a folder", assume_namespaces=labels).returncode == 0
    assert act(tmp_path, command, path="a folder").returncode == 1
    given = {"path": "a folder", "assume_namespaces": labels}
    for watched, code in (("shop,legal", 0), ("legal", 1)):
        assert act(tmp_path, command, **given, watched_namespaces=watched).returncode == code


@pytest.mark.parametrize("evil", ["$(touch owned)", "`touch owned`", '"; touch owned; "', "-h"])
def test_inputs_of_the_action_are_never_run(tmp_path: Path, command: Path, evil: str) -> None:
    """The shell expands every input before it starts the command."""
    inputs = [each.replace("-", "_") for each in ACTION["inputs"] if each != "command"]
    ended = act(tmp_path, command, **dict.fromkeys(inputs, evil))
    assert ended.returncode == 2
    assert not (tmp_path / "owned").exists()


def test_scripts_of_the_action_contain_no_expressions() -> None:
    assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"])


def test_action_installs_an_extra_that_exists() -> None:
    install = ACTION["runs"]["steps"][0]["run"]
    (extra,) = re.findall(r"\[(\w+)\]", install)
    assert extra in _extras()


def _extras() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, Any] = project["optional-dependencies"]
    return extras


# pre-commit


def test_hook_fails_for_a_finding_and_passes_without(tmp_path: Path, command: Path) -> None:
    words = [*shlex.split(HOOK["entry"]), "-f", "shop.yaml"]
    path = f"{command.parent}:{os.environ['PATH']}"
    for text, code in ((SHOP, 1), (AGREED, 0)):
        written(tmp_path, text)
        assert run(words, tmp_path, PATH=path).returncode == code


def test_hook_without_manifests_says_what_to_write(tmp_path: Path, command: Path) -> None:
    path = f"{command.parent}:{os.environ['PATH']}"
    ended = run(shlex.split(HOOK["entry"]), tmp_path, PATH=path)
    assert ended.returncode == 2
    assert "name manifests with -f" in ended.stderr


def test_hook_checks_all_manifests_when_one_changes() -> None:
    assert HOOK["pass_filenames"] is False
    assert re.search(HOOK["files"], "manifests/shop.yaml")
    assert not re.search(HOOK["files"], "main.py")
    (requirement,) = HOOK["additional_dependencies"]
    assert requirement.removeprefix(".[").removesuffix("]") in _extras()


# GitLab


def job(folder: Path, command: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the job as GitLab's runner does in a container without bash."""
    path = f"{command.parent}:{os.environ['PATH']}"
    given = JOB["variables"] | variables | {"PATH": path}
    return run(["sh", "-e", "-c", "\n".join(JOB["script"])], folder, **given)


def test_job_writes_the_report_that_it_uploads(tmp_path: Path, command: Path) -> None:
    (tmp_path / "manifests").mkdir()
    written(tmp_path / "manifests")
    ended = job(tmp_path, command)
    assert ended.returncode == 1
    assert "1 error, 0 warnings" in ended.stdout
    report = tmp_path / JOB["artifacts"]["reports"]["codequality"]
    (issue,) = json.loads(report.read_text())
    assert issue["location"] == {"path": "manifests/shop.yaml", "lines": {"begin": 35}}


def test_job_passes_for_correct_manifests(tmp_path: Path, command: Path) -> None:
    written(tmp_path, REST)
    labels = "shop,environment=production"
    ended = job(tmp_path, command, TROTH_PATHS="shop.yaml", TROTH_ASSUME_NAMESPACES=labels)
    assert ended.returncode == 0, ended
    assert json.loads((tmp_path / "gl-code-quality-report.json").read_text()) == []


def test_job_installs_nothing_that_nobody_has_named(tmp_path: Path) -> None:
    """A package of the name may be somebody else's."""
    ended = run(["sh", "-e", "-c", "\n".join(JOB["before_script"])], tmp_path)
    assert ended.returncode != 0
    assert "set it to a wheel of Troth" in ended.stderr
