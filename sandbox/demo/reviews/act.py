"""The part of the act of events in which people review the dead letters."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sandbox.demo.cast import CHECKOUT, FULFILMENT, SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.events.table import Scene
from sandbox.demo.messages.broker import DEAD_LETTERS
from sandbox.demo.messages.nats import STREAMS
from sandbox.demo.messages.stage import MAIN
from sandbox.demo.reviews import table
from sandbox.demo.reviews.people import people
from sandbox.demo.reviews.worker import (
    AUDIT_LOG,
    REVIEWER,
    counts,
    identified,
    reviewer,
    working,
)
from sandbox.demo.screen import Screen
from sandbox.demo.tokens.services import BUNDLE
from sandbox.demo.trials import run
from sandbox.errors import CommandError
from sandbox.processes import Tether, tail

HEADINGS = ("who", "what it does", "answer")
SECONDS = 120.0
PAUSE = 0.05
NEW_FORM, OLD_FORM = ["order", "items", "total"], ["order", "items"]
"""Members that the schema requires."""


def show_reviews(
    screen: Screen,
    cluster: Cluster,
    tether: Tether,
    scene: Scene,
    await_files: Callable[[Callable[[], bool], str], None],
) -> bool:
    """Show a redrive and a discard, each approved by a second person, and the audit log.

    `await_files` waits until mounted files have a change. Returns whether all is as expected.
    """
    consumer = scene.parties[FULFILMENT]
    screen.title("Reviews: two people decide what is delivered again")
    with ExitStack() as stack:
        stack.enter_context(identified(cluster))
        _restore(cluster, scene, await_files)
        queue = table.placed(scene)
        screen.explain(
            "checkout publishes three orders. Then somebody changes the policy's schema by mistake."
        )
        before = consumer.granted("Consume").schemas
        _change(screen, cluster, {"schema": {"jsonSchema": {"required": NEW_FORM}}})
        await_files(lambda: consumer.granted("Consume").schemas != before, "new schema")
        right = screen.trials(
            run(table.outdated(scene, queue)), "service", *HEADINGS[1:], "dead letter"
        )
        _change(screen, cluster, {"schema": {"jsonSchema": {"required": OLD_FORM}}})
        await_files(lambda: consumer.granted("Consume").schemas == before, "schema of before")
        with screen.step("worker") as say:
            log = stack.enter_context(working(cluster, tether))
            say(f"`troth review` with the chart's rights; {_pending(cluster, log)}")
        alice, bob = stack.enter_context(people(cluster))
        desk = table.Desk(alice, bob, lambda name: _review(cluster, name))
        stack.callback(_forget, cluster)
        results = run(table.redrive(desk, scene))
        results += run(table.discard(desk, table.forged_tenant(scene)))
        results += run(
            table.audited(log, lambda file: _verify(cluster, tether, file), tether.directory)
        )
        return screen.trials(results, *HEADINGS) and right


def _restore(
    cluster: Cluster, scene: Scene, await_files: Callable[[Callable[[], bool], str], None]
) -> None:
    """Give checkout its grant again, and name the worker in the policy."""
    letters: dict[str, Any] = reviewer()
    if scene.exchange.binding == "nats":
        letters["stream"] = next(name for name, topic in STREAMS.items() if topic == DEAD_LETTERS)
        owned = json.dumps({"spec": {"owns": {"streams": [*STREAMS]}}})
        broker = ("messagebroker", MAIN.name, "-n", MAIN.namespace)
        cluster.sandbox.kubectl("patch", *broker, "--type=merge", "-p", owned)
    spec = {
        "producers": [{"identity": {"name": CHECKOUT.name}}],
        "context": {"maxAge": "72h"},
        "deadLetter": letters,
    }
    _patch(cluster, spec)
    cluster.await_ready("serviceidentities")
    consumer, producer = scene.parties[FULFILMENT], scene.parties[CHECKOUT]
    await_files(lambda: bool(producer.granted("Publish").topic), "grant of checkout")
    await_files(lambda: bool(consumer.granted("Consume").reviewers), "reviewer")
    scene.exchange.reconnect()


def _change(screen: Screen, cluster: Cluster, spec: dict[str, Any]) -> None:
    screen.command(f"kubectl {' '.join(_patch(cluster, spec))}")


def _patch(cluster: Cluster, spec: dict[str, Any]) -> tuple[str, ...]:
    """Change the policy's spec; return the command as it is shown."""
    text = json.dumps({"spec": spec}, separators=(",", ":"))
    command = ("patch", "tp/orders", "-n", SHOP, "--type=merge", "-p")
    cluster.sandbox.kubectl(*command, text)
    return (*command, f"'{text}'")


def _pending(cluster: Cluster, log: Path) -> str:
    """Return what the policy's status says about its dead letters, once it does."""
    deadline = time.monotonic() + SECONDS
    while not (found := counts(cluster)):
        if time.monotonic() > deadline:
            raise DemoError(
                f"the policy's status has no dead letters after {SECONDS:.0f} s; the end of the "
                f"worker's log:\n{tail(log)}"
            )
        time.sleep(PAUSE)
    return f"{sum(found.values())} letters await a decision"


def _review(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.sandbox.kubectl("get", "dlr", name, "-n", SHOP, "-o", "json")
    )
    return found


def _forget(cluster: Cluster) -> None:
    """Delete the reviews while the worker runs, which removes their finalizers.

    The API server keeps a review that is under way because a trial went wrong. The removal of the
    namespace deletes it, if nothing holds it.
    """
    kubectl, names = cluster.sandbox.kubectl, (table.REDRIVE, table.DISCARD)
    try:
        kubectl("delete", "dlr", *names, "-n", SHOP, "--ignore-not-found", "--timeout=30s")
    except CommandError:
        released = json.dumps({"metadata": {"finalizers": None}})
        for name in names:
            with suppress(CommandError):
                kubectl("patch", "dlr", name, "-n", SHOP, "--type=merge", "-p", released)


def _verify(cluster: Cluster, tether: Tether, file: Path) -> table.Verified:
    """Run `troth audit-log verify` with the trust bundle, the worker's name, and the head."""
    directory = tether.directory / "review"
    head = directory / "head.json"
    found = ("get", "configmap", AUDIT_LOG, "-n", REVIEWER.namespace, "-o", "json")
    head.write_text(cluster.sandbox.kubectl(*found))
    worker = json.loads((directory / "identity" / "identity.json").read_text())["spiffeID"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "troth.cli", "audit-log", "verify", str(file)),
            *("--bundle", str(directory / BUNDLE / "events-bundle-map.json")),
            *("--worker", worker, "--head", f"@{head}"),
        ],
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return table.Verified(done.returncode, _told(done.stdout or done.stderr, file))


def _told(output: str, file: Path) -> str:
    """Return the first fault, or else the number of entries, and the verdict."""
    lines = [line.replace(f"{file}:", "line ") for line in output.splitlines() if line.strip()]
    faults = [line for line in lines if line.startswith("line ")]
    entries = [line for line in lines if line.startswith("entries")]
    verdict = [line for line in lines if "intact" in line]
    return "\n".join((*(faults or entries)[:1], *verdict)) or output
