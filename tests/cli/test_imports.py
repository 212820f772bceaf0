"""Modules that each program of Troth loads to start: no library that only another one needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from troth.cli.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules))
if sys.argv[1] == "serve":
    import asyncio
    def stop(main):
        main.close()
        sys.exit()
    asyncio.run = stop  # everything is imported by now
from troth.cli.entry import main
sys.argv[1:] = sys.argv[2:]
main()
"""

KUBERNETES = ("aiohttp", "kubernetes.aio", "kopf")
SYNCHRONOUS = ("kubernetes.client", "requests", "oauthlib", "websocket")
BROKERS = ("nats", "nkeys", "aiokafka", "confluent_kafka", "faststream")
SCHEMAS = ("fastavro", "google.protobuf", "jsonschema_rs")
SERVERS = ("uvicorn", "starlette", "valkey", "opentelemetry")
MODELS = ("pydantic", "troth.resources.kinds", "cryptography", "yaml")
INPUT = ("troth.cli.output", "troth.cli.inputs.sources", "rich")

NOTHING = (*KUBERNETES, *SYNCHRONOUS, *BROKERS, *SCHEMAS, *SERVERS, *MODELS, *INPUT, "asyncio")
DAEMON = (*SYNCHRONOUS, *SCHEMAS, *INPUT, "confluent_kafka", "aiokafka", "opentelemetry")

NEVER_LOADED = {
    ("print", "--help"): NOTHING,
    ("print", "--version"): NOTHING,
    ("print", "check", "--help"): (*KUBERNETES, *BROKERS, *SCHEMAS, *SERVERS),
    ("print", "plan", "-f", "examples/shop"): (
        *(*KUBERNETES, *SYNCHRONOUS, *BROKERS, *SCHEMAS, *SERVERS),
        "troth.audit",
    ),
    ("print", "check", "-f", "examples/shop"): (
        *(*KUBERNETES, *SYNCHRONOUS, *BROKERS, *SCHEMAS, *SERVERS),
    ),
    ("serve", "run"): (*DAEMON, *BROKERS, *SERVERS),
    ("serve", "gateway", "--single-replica"): (*DAEMON, *BROKERS, "kopf", "starlette"),
    ("serve", "issue", "--domain", "shop"): (*DAEMON, *BROKERS, "kopf", "valkey"),
    ("serve", "review"): (*DAEMON, *BROKERS, "kopf", "valkey"),
    ("serve", "auditor"): (*DAEMON, *BROKERS, "kopf", "starlette", "valkey"),
}

ENDS: dict[tuple[str, ...], ExitCode] = {
    ("print", "plan", "-f"): ExitCode.FINDINGS,
    ("print", "check", "-f"): ExitCode.FINDINGS,
}
"""Exit codes of programs that ran to their end, if not 0."""


def loaded(arguments: tuple[str, ...]) -> frozenset[str]:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE,
    )
    assert printed.returncode == ENDS.get(arguments[:3], 0), printed.stderr
    return frozenset(printed.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("arguments", NEVER_LOADED, ids=" ".join)
def test_program_loads_no_library_that_it_does_not_use(arguments: tuple[str, ...]) -> None:
    modules = loaded(arguments)
    assert "troth.cli.main" in modules
    assert sorted(modules & set(NEVER_LOADED[arguments])) == []


def test_command_ends_without_a_search_for_cycles() -> None:
    script = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "from troth.cli.entry import main\n"
        'sys.argv[1:] = ["--version"]\n'
        "main()"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    assert int(printed.split()[-1]) > 0


def test_completion_of_a_name_loads_no_command() -> None:
    script = PROGRAM.replace(
        "import atexit, sys",
        "import atexit, os, sys\n"
        'os.environ |= {"_TROTH_COMPLETE": "complete_bash", "COMP_WORDS": "troth che", '
        '"COMP_CWORD": "1"}',
    )
    printed = subprocess.run(
        [sys.executable, "-c", script, "print"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    ).stdout
    shown, _, modules = printed.rpartition("loaded:")
    assert shown.split() == ["check"]
    assert not {"troth.cli.check", "troth.resources", "yaml"} & set(modules.split())
