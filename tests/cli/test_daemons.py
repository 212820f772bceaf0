"""Errors that the long-running programs report at start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sandbox.processes import Tether
from tests.patience import PATIENCE
from tests.sandbox.observing import becomes

DAEMONS = [
    ["run"],
    ["issue", "--domain", "production"],
    ["gateway", "--single-replica"],
    ["review"],
]
BROKEN = {"no file": None, "no YAML": "{{", "no mapping": "7", "no kubeconfig": "{}"}


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda words: words[0])
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_invalid_kubeconfig_ends_the_program_with_a_message(
    text: str | None, daemon: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    command = [sys.executable, "-m", "troth.cli", *daemon, f"--kubeconfig={file}"]
    ended = subprocess.run(command, timeout=PATIENCE, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{file}: ")
    assert len(ended.stderr.splitlines()) == 1


# The view of a container's process whose user has no entry in /etc/passwd.
UNKNOWN_USER = """
import pwd

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown

from troth.cli.main import main
main()
"""
USER_VARIABLES = {"LOGNAME", "USER", "LNAME", "USERNAME", "POD_ID"}
NOBODY_LISTENS = "https://127.0.0.1:1"


def test_operator_starts_under_a_uid_without_a_passwd_entry(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(NOBODY_LISTENS)))
    log = tmp_path / "log"
    environment = {name: os.environ[name] for name in os.environ if name not in USER_VARIABLES}
    with Tether(tmp_path / "processes") as tether:
        tether.directory.mkdir()
        tether.start(
            "operator",
            [
                *(sys.executable, "-c", UNKNOWN_USER),
                *("run", f"--kubeconfig={kubeconfig}", "--listen=127.0.0.1:0"),
            ],
            log=log,
            env=environment,
        )
        assert becomes(
            lambda: "started" in log.read_text() or tether.poll("operator") is not None, seconds=60
        )
        assert tether.poll("operator") is None, log.read_text()


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
