"""Each extra has all that its programs import, and a program names the extra that it lacks."""

import json
import subprocess
import sys

import pytest

from tests.packaging.distributions import missing_modules, modules

# Imports every module of the packages in argv[2] as if those in argv[1] were not installed. Those
# whose name starts as one in argv[3] are left out.
IMPORT = """
import importlib, json, pkgutil, sys

absent, packages, skipped = map(json.loads, sys.argv[1:])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"no module {name}", name=name)

sys.meta_path.insert(0, Absent())
for package in packages:
    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}."):
        if found.name != "troth.cli.__main__" and not found.name.startswith(tuple(skipped)):
            importlib.import_module(found.name)
"""
# The adapters of `troth.edge`: each needs the library of its name, which the service has already.
ADAPTERS = [
    f"troth.edge.{name}"
    for name in (
        "events.adapters.",
        "frameworks.",
        "outbound.aiohttp",
        "outbound.httpx",
        "outbound.requests",
    )
]
# Each needs the library of its format.
FORMATS = [f"troth.edge.events.schemas.{name}" for name in ("avro", "json_schema", "protobuf")]
PROGRAMS = [f"troth.cli.{name}." for name in ("run", "issue", "gateway", "auditor", "review")]
READERS = ["troth.cli.event.kafka_topic", "troth.cli.event.nats_subject"]
"""What `troth event tail` imports for the broker that it reads."""

INSTALLATIONS: dict[tuple[str, ...], tuple[list[str], list[str]]] = {
    (): (["troth.edge", "troth.cli.entry"], [*ADAPTERS, *FORMATS]),
    ("events",): (["troth.edge.events.schemas", "troth.resources.messaging.schemas"], []),
    ("cli",): (["troth.cli", "troth.planning", "troth.webhooks.schemes"], [*PROGRAMS, *READERS]),
    ("cli", "kafka"): (["troth.cli.event.kafka_topic"], []),
    ("cli", "nats"): (["troth.cli.event.nats_subject"], []),
    ("operator",): (["troth.cli.run", "troth.reconcile", "troth.cluster"], []),
    ("issuer",): (["troth.cli.issue", "troth.issuer"], []),
    ("operator", "issuer"): (["troth.cli.auditor", "troth.auditor"], []),
    ("review",): (["troth.cli.review", "troth.review"], []),
    ("gateway",): (["troth.cli.gateway", "troth.webhooks"], []),
    ("gateway", "otel"): (["troth.serving"], []),
    ("operator", "kafka"): (["troth.brokers.kafka"], []),
    ("operator", "nats"): (["troth.brokers.nats"], []),
    ("events-valkey",): (["troth.replay"], []),
    ("events-kafka",): (["troth.edge.events.adapters.confluent"], []),
    ("events-aiokafka",): (["troth.edge.events.adapters.aiokafka"], []),
    ("events-aiokafka", "events-faststream"): (
        ["troth.edge.events.adapters.faststream"],
        ["troth.edge.events.adapters.faststream.nats"],
    ),
    ("events-nats", "events-faststream"): (
        ["troth.edge.events.adapters.faststream"],
        ["troth.edge.events.adapters.faststream.kafka"],
    ),
    ("events-nats",): (["troth.edge.events.adapters.nats"], []),
}


@pytest.mark.parametrize("extras", INSTALLATIONS, ids=lambda extras: "+".join(extras) or "base")
def test_extras_have_all_that_their_programs_import(extras: tuple[str, ...]) -> None:
    packages, skipped = INSTALLATIONS[extras]
    arguments = map(json.dumps, (sorted(missing_modules(*extras)), packages, skipped))
    done = _python("-c", IMPORT, *arguments)
    assert done.returncode == 0, done.stderr


def test_base_installation_has_cryptography_and_pydantic_alone() -> None:
    own = {"troth", "cryptography", "pydantic"}
    brought = {"_cffi_backend", "cffi", "pycparser", "pydantic_core", "annotated_types"}
    assert modules() - {"typing_extensions", "typing_inspection"} == own | brought


# Runs `troth` with the arguments argv[2:] as if the module argv[1] were not installed.
WITHOUT = """
import sys

sys.modules[sys.argv.pop(1)] = None
from troth.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (["--help"], "typer", "cli"),
        (["crds"], "yaml", "cli"),
        (["status", "--kubeconfig", "none"], "kubernetes", "cli"),
        (["plan", "-f", "examples/shop"], "yaml", "cli"),
        (["run"], "kopf", "operator"),
        (["issue", "--domain", "production"], "starlette", "issuer"),
        (["gateway", "--single-replica"], "valkey", "gateway"),
        (["review"], "starlette", "review"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_missing_extra_is_named(command: list[str], module: str, extra: str) -> None:
    done = _python("-c", WITHOUT, module, *command)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    named = rf"module {module} is not installed; run: pip install 'troth[{extra}]'"
    assert done.stderr.splitlines() == [named]


def test_missing_module_of_troth_is_no_missing_extra() -> None:
    done = _python("-c", WITHOUT, "troth.cli.crds", "crds")
    assert done.returncode == 3
    assert "this is a bug in Troth" in done.stderr
    assert "pip install" not in done.stderr


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
