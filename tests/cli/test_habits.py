"""What a user expects of every command: version, completion, colors, formats, exit codes."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.commands import command_tree
from tests.cli.running import troth
from tests.cli.shop import SHOP, written
from tests.patience import PATIENCE
from troth.cli.exit_codes import ExitCode
from troth.cli.main import PLUGIN
from troth.cli.output import Structured, console, structured

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b["


def test_version_is_printed() -> None:
    assert troth("--version").output == f"troth {version('troth')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_each_shell(shell: str) -> None:
    command = [sys.executable, "-m", "troth.cli"]
    environment = os.environ | {"_TROTH_COMPLETE": f"source_{shell}"}
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=PATIENCE
    ).stdout
    assert "_TROTH_COMPLETE" in printed


def test_commands_and_options_are_completed() -> None:
    environment = os.environ | {"_TROTH_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    for words, expected in (
        ("troth che", "check"),
        ("troth st", "status"),
        ("troth ev", "event"),
    ):
        printed = subprocess.run(
            [sys.executable, "-m", "troth.cli"],
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"COMP_WORDS": words},
            timeout=PATIENCE,
        ).stdout
        assert printed.split() == [expected]


def test_no_color_removes_every_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for wrap in (True, False):
        assert _printed(wrap=wrap).startswith(ESCAPE)
        monkeypatch.setenv("NO_COLOR", "1")
        assert _printed(wrap=wrap) == "a line\n"
        monkeypatch.delenv("NO_COLOR")


def _printed(*, wrap: bool) -> str:
    made = console(wrap=wrap)
    with made.capture() as capture:
        made.print("a line", style="bold red")
    return capture.get()


def test_no_text_becomes_an_emoji() -> None:
    made = console(wrap=False)
    with made.capture() as capture:
        made.print("manifest.yaml:100: error", markup=False)
    assert capture.get() == "manifest.yaml:100: error\n"


def test_every_command_uses_the_console_that_respects_no_color() -> None:
    for file in (ROOT / "operator" / "troth" / "cli").rglob("*.py"):
        if file.name != "output.py":
            assert not re.search(r"\bConsole\(", file.read_text()), file


def commands(command: Any, path: str = "") -> list[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    if not below:
        return [(path, command)]
    return [each for name, one in below.items() for each in commands(one, f"{path} {name}".strip())]


def test_every_command_that_prints_resources_has_json_and_yaml() -> None:
    without = {"run", "issue", "gateway", "agent", "auditor", "review", "ready", "probe", "learn"}
    without |= {f"deadletters {each}" for each in ("approve", "withdraw", "watch")}
    for path, command in commands(command_tree()):
        if path in without:
            continue
        option = next(each for each in command.params if "--output" in each.opts)
        assert "-o" in option.opts, path
        if path == "webhook sign":  # it prints one request, in forms for other programs
            continue
        forms = {each.value for each in option.type_descriptor.annotation}
        assert {"json", "yaml"} <= forms, path


@pytest.mark.parametrize("command", [["graph"], ["grants"], ["check"], ["plan"], ["audit"]])
def test_json_and_yaml_say_the_same(tmp_path: Path, command: list[str]) -> None:
    folder = str(written(tmp_path))
    printed = {form: troth(*command, "-f", folder, "-o", form).output for form in ("json", "yaml")}
    assert json.loads(printed["json"]) == yaml.safe_load(printed["yaml"])


@pytest.mark.parametrize("form", Structured)
def test_json_and_yaml_do_not_control_the_terminal(form: Structured) -> None:
    document = {"a": "\x9b31m\u202e\x1b é → \U0001f600", "\u202e": ["\x7f"]}
    text = structured(document, form)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    read = json.loads if form is Structured.JSON else yaml.safe_load
    assert read(text) == document


def test_custom_resource_definitions_are_printed_as_a_list_in_json() -> None:
    listed = json.loads(troth("crds", "-o", "json").output)
    assert listed["kind"] == "List"
    assert listed["items"] == list(yaml.safe_load_all(troth("crds").output))


# kubectl


def test_kubectl_runs_the_plugin(tmp_path: Path) -> None:
    """The script is what pip writes for the entry point."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts[PLUGIN].partition(":")
    plugin = tmp_path / PLUGIN
    plugin.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    plugin.chmod(0o755)
    kubectl = Path(sys.executable).parent / "kubectl"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [kubectl, "troth", *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            timeout=PATIENCE,
        ).stdout

    assert run("--version") == f"troth {version('troth')}\n"
    assert "Usage: kubectl troth [OPTIONS] COMMAND" in run("--help")


def test_usage_names_the_command_as_it_was_called() -> None:
    assert "Usage: kubectl troth check" in troth("check", "--help", name=PLUGIN).output
    assert "Usage: troth check" in troth("check", "--help").output


# Exit codes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], ExitCode.CLEAN),
        (["graph", "-f", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["grants", "-f", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["plan", "-f", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["check", "-f", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["status", "--kubeconfig", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["token", "explain", "a/b", "a/c", "-f", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["token", "inspect", "@nowhere"], ExitCode.UNUSABLE_INPUT),
        (["webhook", "verify", "nowhere", "-s", "GitHub"], ExitCode.UNUSABLE_INPUT),
        (["event", "open", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["event", "explain", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["event", "seal", "nowhere", "--type", "t"], ExitCode.UNUSABLE_INPUT),
        (["event", "tail", "--identity", "nowhere"], ExitCode.UNUSABLE_INPUT),
        (["crds", "--write", "/proc/nowhere"], ExitCode.UNUSABLE_INPUT),
        (["status", "--watch", "-o", "json"], ExitCode.UNUSABLE_INPUT),
        (["check", "--no-such-option"], ExitCode.UNUSABLE_INPUT),
        (["nonsense"], ExitCode.UNUSABLE_INPUT),
    ],
    ids=str,
)
def test_exit_code_means_the_same_for_every_command(arguments: list[str], code: ExitCode) -> None:
    ended = troth(*arguments)
    assert ended.code == code, ended
    assert "Traceback" not in ended.errors


def test_bug_is_reported_in_one_line_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr("troth.cli.inputs.sources.read", fail)
    ended = troth("graph", "-f", str(ROOT / "examples" / "shop"))
    assert ended.code == ExitCode.INTERNAL_ERROR
    assert re.fullmatch(
        r"internal error: KeyError at troth/cli/inputs/declared.py:\d+; this is a bug in Troth, "
        r"please report it with this line\n",
        ended.errors,
    )


def test_reference_explains_every_exit_code() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for code in ExitCode:
        assert f"| {code.value} |" in page, code


def test_manifest_is_read_from_standard_input() -> None:
    ended = troth("graph", "-f", "-", given=SHOP.encode())
    assert ended.code == ExitCode.CLEAN
    assert ended.output.startswith("flowchart LR")
