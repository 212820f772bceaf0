"""The demo as a person runs it: it proves what it says, it ends by itself, it leaves nothing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from sandbox.demo.shop import Shop
from tests.sandbox.observing import REPOSITORY, becomes, processes_of

DEMO = [sys.executable, "-m", "sandbox.demo"]
SECONDS = 60


def environment(temporary: Path) -> dict[str, str]:
    """The person's own, without a cluster of theirs, and with a temporary directory to look at."""
    kept = {key: text for key, text in os.environ.items() if key != "TROTH_SANDBOX_KUBECONFIG"}
    return {**kept, "TMPDIR": str(temporary), "KEEP": ""}


def test_it_proves_what_is_declared_and_leaves_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        DEMO,
        cwd=REPOSITORY,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < SECONDS
    output = done.stdout
    assert "Everything is as declared" in output
    assert "WRONG" not in output
    let_in, refused = re.split("^Refused.*$", output, flags=re.MULTILINE)
    shop = Shop.read()
    assert len(re.findall("^✓ .* → ", let_in, re.MULTILINE)) == len(shop.agreed()) + 1
    refused = refused.partition("NetworkPolicies")[0]
    for reason in (
        "payments: not one of its peers",
        "ledger: has not agreed to it",
        "payments: trusts no such root",
        "payments: certificate has expired",
        "payments: asks for a certificate",
        "payments: TLS 1.3 only",
        "payments: that is not TLS",
        "checkout: it is recommendations",
    ):
        assert reason in refused
    assert "AwaitingCallee: finance/ledger does not accept" in output
    assert re.search(r"put right after \d+ ms", output)
    assert all(len(line) <= 100 for line in output.splitlines())
    assert "\x1b" not in output, "no escape codes where there is no terminal"
    for secret in ("PRIVATE KEY", "eyJ"):
        assert secret not in output + done.stderr
    assert not list(tmp_path.iterdir())
    assert not processes_of(tmp_path)


def test_it_fails_where_a_service_accepts_whom_it_should_not(tmp_path: Path) -> None:
    checkout, temporary = tmp_path / "checkout", tmp_path / "temporary"
    temporary.mkdir()
    for folder in ("sandbox", "charts", "examples"):
        shutil.copytree(REPOSITORY / folder, checkout / folder)
    service = checkout / "sandbox" / "demo" / "service.py"
    honest = service.read_text()
    careless = honest.replace("if (entry[", "if True or (entry[")
    assert careless != honest
    service.write_text(careless)
    done = subprocess.run(
        DEMO,
        cwd=checkout,
        env=environment(temporary),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * SECONDS,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search("fulfilment → payments .* WRONG", done.stdout)
    assert "Everything is as declared" not in done.stdout


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "operator" in line:
                break
        assert any("troth.cli" in line for line in processes_of(tmp_path))
        os.killpg(demo.pid, signal.SIGINT)
        assert "nothing is left behind" in demo.stdout.read()
    assert demo.returncode == 130
    assert becomes(lambda: not processes_of(tmp_path) and not list(tmp_path.iterdir()))


# a background job ignores Ctrl-C unless it asks for it
FOREGROUND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("sandbox.demo", run_name="__main__")
"""


def test_it_will_not_use_a_cluster_of_the_persons(tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO,
        cwd=REPOSITORY,
        env={**environment(tmp_path), "TROTH_SANDBOX_KUBECONFIG": "/somebody/elses"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert "unset TROTH_SANDBOX_KUBECONFIG" in done.stdout
