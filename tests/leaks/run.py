"""One complete run of the operator: its secrets, and all of its output."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from sandbox.faults import FaultyPath
from sandbox.processes import Tether
from tests.cluster.command import Ended, troth
from tests.cluster.person import until
from tests.cluster.process import QUICK, Process
from tests.cluster.stage import Stage
from tests.leaks.recording import Recording, beside_the_data, place
from tests.leaks.searching import Leak, Search
from tests.leaks.wire import Wire
from tests.serving.collector import Collector, collecting

HELM = "helm.sh/release.v1"
CONSOLE, JSON = "console", "json"
"""Formats of a log."""


@dataclass
class Run:
    """Operator processes on one stage, connected through a recording proxy."""

    stage: Stage
    wire: Wire
    recording: Recording
    tether: Tether
    files: Path
    """Directory for every file that the operator writes."""
    collector: Collector
    """Collector that every program sends its spans to."""
    processes: dict[str, Process] = field(default_factory=dict)
    shown: list[tuple[str, str]] = field(default_factory=list)
    """Printed and scraped texts, each with its place."""

    def start(self, log_format: str) -> Process:
        """Start an operator with the most detailed log, in one of the two formats."""
        options = (*QUICK, "--log-level", "debug", "--log-format", log_format)
        kubeconfig = self.wire.path.kubeconfig
        copy = Process(self.tether, log_format, kubeconfig, self.stage.own, *options)
        self.processes[log_format] = copy
        return copy

    async def ask(self, *arguments: str, kubeconfig: Path | None = None) -> Ended:
        """Run a command and record its output."""
        ended = await troth(kubeconfig or self.stage.sandbox.kubeconfig, *arguments)
        self.shown.append((f"troth {' '.join(arguments)}", ended.output + ended.errors))
        return ended

    async def scrape(self, log_format: str) -> None:
        """Record the present metrics of an operator."""
        text = await self.processes[log_format]._get("metrics")
        assert text
        self.shown.append((f"the metrics of {log_format}", text))

    def log(self, log_format: str) -> str:
        return self.processes[log_format].output

    async def traces(self, *services: str) -> None:
        """Wait until spans of these services have arrived."""

        async def missing() -> set[str]:
            return set(services) - {str(each["service.name"]) for each in self.collector.resources}

        await until(missing, lambda services: not services)

    # Evaluation

    def secrets(self) -> Search:
        """Return a search for every secret of the run."""
        search = Search()
        for secret in self.recording.of("Secret", self.stage.own, *self.stage.namespaces):
            if secret["type"] != HELM:
                search.keep_secret(secret)
        self.wire.tell(search)
        for kubeconfig in (self.stage.kubeconfig, self.stage.sandbox.kubeconfig):
            user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
            if "token" in user:
                search.keep_token("the operator's token", user["token"])
            else:
                metadata = {"namespace": "the administrator's", "name": "kubeconfig"}
                search.keep_secret({"metadata": metadata, "data": {"key": user["client-key-data"]}})
        return search

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield every visible text, with its place."""
        for name, process in self.processes.items():
            for number, line in enumerate(process.output.splitlines(), start=1):
                yield f"line {number} of the log of {name}", line
        yield from self.shown
        for number, body in enumerate(list(self.collector.bodies), start=1):
            yield f"export {number} of spans", body.decode("latin-1")
        for state in self.recording.states:
            yield place(state), beside_the_data(state)
        for file in self.files.rglob("*"):
            if file.is_file():
                yield f"the file {file.name}", file.read_bytes().decode("latin-1")

    def leaks(self, search: Search | None = None) -> list[Leak]:
        """Return every secret found in a text, with the first place."""
        search = search or self.secrets()
        found: dict[tuple[str, str], Leak] = {}
        for where, text in self.texts():
            for leak in search.found(where, text):
                found.setdefault((leak.secret, where.partition(" ")[0]), leak)
        return list(found.values())


@asynccontextmanager
async def listened_to(
    stage: Stage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    """Record a stage from now on; operator processes end with the context."""
    files = directory / "files"
    files.mkdir()
    monkeypatch.setenv("TMPDIR", str(files))
    with collecting() as collector, Tether(directory / "processes") as tether:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")  # milliseconds
        tether.directory.mkdir()
        async with (
            FaultyPath(stage.kubeconfig, directory / "proxy") as path,
            Recording(stage.sandbox.kubeconfig) as recording,
        ):
            yield Run(stage, Wire(path), recording, tether, files, collector)
