"""The tutorial: every command of docs/tutorial.md works as written, in order."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.detached import DetachedSandbox
from tests.patience import PATIENCE
from tests.sandbox.observing import REPOSITORY

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"

for_bash_and_curl = pytest.mark.skipif(
    any(
        subprocess.run(["which", program], capture_output=True, check=False).returncode
        for program in ("bash", "curl")
    ),
    reason="the tutorial needs bash and curl",
)


@for_bash_and_curl
def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    name = f"tutorial-{os.getpid()}"
    text = TUTORIAL.read_text()
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    # differences from a user's session: the path of Python, and a cluster of the test's own
    commands = commands.replace(".venv/bin/python", sys.executable)
    commands = commands.replace(" .venv/bin/troth", f" {sys.executable} -m troth.cli")
    commands = commands.replace("\n.venv/bin/troth", f"\n{sys.executable} -m troth.cli")
    commands = commands.replace("--name tutorial", f"--name {name}").replace("18080", _port())
    for folder in ("charts", "examples", "sandbox"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as session:
        try:
            output, _ = session.communicate(timeout=PATIENCE)
        finally:
            if session.poll() is None or session.returncode:
                with contextlib.suppress(ProcessLookupError):  # it may have ended already
                    os.killpg(session.pid, signal.SIGKILL)
            DetachedSandbox(name).down()
    assert session.returncode == 0, output
    for shown in re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert shown in output
    assert output.count("rejected\n") == 2
    assert "declare under workload.ports every port" in output
    assert "Repaired" in output
    assert {each.name for each in tmp_path.iterdir()} == {"charts", "examples", "sandbox"}


def _port() -> str:
    from sandbox.control_plane import free_port

    return str(free_port())
