"""The tutorial: every command of docs/tutorial.md works as written, in order."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.detached import DetachedSandbox
from tests.patience import PATIENCE
from tests.sandbox.observing import REPOSITORY

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
PRINTED = "printed.txt"

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
        # not a link, because Troth reads no manifests through a link that leads elsewhere
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    with (tmp_path / PRINTED).open("w") as printed:
        # a file and no pipe: what a failed command leaves running would hold the pipe open
        session = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):  # the output says how far it came
                session.wait(timeout=PATIENCE)
        finally:
            if session.returncode != 0:
                with contextlib.suppress(ProcessLookupError):  # it may have ended already
                    os.killpg(session.pid, signal.SIGKILL)
                session.wait()
            DetachedSandbox(name).down()
    output = (tmp_path / PRINTED).read_text()
    assert session.returncode == 0, output
    for shown in re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert shown in output
    assert output.count("rejected\n") == 2
    assert "declare under workload.ports every port" in output
    assert "Repaired" in output
    assert {each.name for each in tmp_path.iterdir()} == {"charts", "examples", "sandbox", PRINTED}


def _port() -> str:
    from sandbox.control_plane import free_port

    return str(free_port())
