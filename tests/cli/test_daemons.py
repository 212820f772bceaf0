"""What the programs that run for ever say before they begin."""

import subprocess
import sys
from pathlib import Path

import pytest

DAEMONS = [["run"], ["issue", "--domain", "production"], ["gateway", "--single-replica"]]
BROKEN = {"no file": None, "no YAML": "{{", "no mapping": "7", "no kubeconfig": "{}"}


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda words: words[0])
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_kubeconfig_that_is_none_is_a_sentence_and_the_end(
    text: str | None, daemon: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    command = [sys.executable, "-m", "troth.cli", *daemon, f"--kubeconfig={file}"]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{file}: ")
    assert len(ended.stderr.splitlines()) == 1
