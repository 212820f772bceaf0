"""The act of events: one that fulfilment accepts, forgeries, and changes of the policy."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sandbox.demo.cast import CHECKOUT, FULFILMENT, PAYMENTS, SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.events import table
from sandbox.demo.events.exchange import Exchange, Fulfilment, Party
from sandbox.demo.events.kafka import KafkaExchange
from sandbox.demo.events.nats import NatsExchange
from sandbox.demo.events.orders import CONTEXT, order
from sandbox.demo.messages.broker import DEAD_LETTERS
from sandbox.demo.messages.kafka import KafkaBroker
from sandbox.demo.messages.nats import NatsBroker
from sandbox.demo.messages.stage import mount, staged
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.reviews.act import show_reviews
from sandbox.demo.screen import Screen
from sandbox.demo.setting import BrokerName
from sandbox.demo.shop import Place
from sandbox.demo.tokens.services import BUNDLE
from sandbox.demo.trials import run
from sandbox.processes import Tether
from troth.cli.event.portable import document
from troth.edge.events.message import Message
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError

HEADINGS = ("service", "what it does", "answer", "dead letter")
SECONDS = 60.0
"""Maximum time in seconds until mounted files have a change of the policy."""
PAUSE = 0.05
QUEUE = ("1010", "1011")
"""Orders that wait while their producer loses its grant."""
MAX_AGE = 60
"""Maximum age of an event in seconds, after the policy's change."""


def show_events(screen: Screen, cluster: Cluster, tether: Tether, name: BrokerName) -> bool:
    """Show an accepted event, forgeries, changes of the policy, and the dead letters.

    Returns whether all is as expected. Removes all objects of the broker from the cluster.
    """
    screen.title("Events: the consumer accepts only what the policy says")
    with ExitStack() as stack:
        broker = stack.enter_context(staged(screen, cluster, name))
        directory = tether.directory / "events"
        stack.enter_context(_quiet())
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, _mounts(directory)))
        parties = {place: _party(directory, place) for place in (CHECKOUT, FULFILMENT, PAYMENTS)}
        _await_grants(parties)
        got = Fulfilment()
        exchange = _exchange(broker, parties, got)
        stack.callback(exchange.close)
        scene = table.Scene(exchange, got, parties)
        headings = ("service", "what it does", "what fulfilment gets")
        right = screen.trials(run(table.accepted(scene)), *headings)
        screen.title("Forged events: fulfilment rejects them, and keeps them as dead letters")
        screen.explain(
            "The broker accepts all of these, because they come with checkout's own credential."
        )
        results = run(table.forgeries(scene)) + run(table.failing(scene))
        right = screen.trials(results, *HEADINGS) and right
        right = _show_changes(screen, cluster, scene) and right
        screen.title(f"Dead letters: the owner of {DEAD_LETTERS} reviews them")
        results = run(table.dead_letters(scene))
        done: list[table.Explained] = []

        def explain(message: Message) -> table.Explained:
            done.append(_explain(directory, scene, message))
            return done[-1]

        results += run(table.explained(scene, explain))
        right = screen.trials(results, "service", "what it does", "answer") and right
        screen.command("troth event explain dead-letter.json")
        screen.quote(done[-1].output)
        scene.exchange.stop()
        return show_reviews(screen, cluster, tether, scene, _await) and right


def _show_changes(screen: Screen, cluster: Cluster, scene: table.Scene) -> bool:
    """Show a shorter maximum age, then a producer whose grant is revoked."""
    fulfilment = scene.parties[FULFILMENT]
    screen.title("Changes of the policy: fulfilment applies them to messages that wait")
    _patch(screen, cluster, {"context": {"maxAge": f"{MAX_AGE}s"}})
    with screen.step("identity.json") as say:
        _await(lambda: fulfilment.granted("Consume").context.max_age == MAX_AGE, "maxAge")
        say(f"fulfilment accepts events of at most {MAX_AGE} s")
    right = screen.trials(run(table.expired(scene)), *HEADINGS)
    scene.exchange.stop()
    queue = [scene.exchange.order(order(number, "a book"), **CONTEXT) for number in QUEUE]
    screen.explain(
        "While fulfilment is down, checkout publishes two orders, and then loses its grant."
    )
    _patch(screen, cluster, {"producers": []})
    with screen.step("identity.json") as say:
        _await(lambda: not fulfilment.granted("Consume").producers, "revoked producer")
        say("fulfilment accepts events of nobody")
    return screen.trials(run(table.revoked(scene, queue)), *HEADINGS) and right


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's log out of the output, which shows the same rejections."""
    log = logging.getLogger("troth.edge.events")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _mounts(directory: Path) -> list[Mount]:
    identities = (f"{place.name}-identity" for place in (CHECKOUT, FULFILMENT, PAYMENTS))
    credentials = (f"{place.name}-main" for place in (CHECKOUT, FULFILMENT))
    secrets = [mount(directory / name) for name in (*identities, *credentials)]
    return [*secrets, Mount(Place(SHOP, BUNDLE), directory / BUNDLE, is_secret=False)]


def _party(directory: Path, place: Place) -> Party:
    identity = Identity(directory / f"{place.name}-identity", directory / BUNDLE)
    return Party(identity, directory / f"{place.name}-main")


def _exchange(
    broker: NatsBroker | KafkaBroker, parties: dict[Place, Party], got: Fulfilment
) -> Exchange:
    both = parties[CHECKOUT], parties[FULFILMENT]
    if isinstance(broker, NatsBroker):
        return NatsExchange(broker.server, broker.runner, both, got)
    return KafkaExchange(broker.server, *both, got)


def _await_grants(parties: dict[Place, Party]) -> None:
    """Wait until the mounted files have the grants; raises `DemoError`."""
    _await(lambda: bool(parties[CHECKOUT].granted("Publish").topic), "grant of checkout")
    _await(lambda: bool(parties[FULFILMENT].granted("Consume").producers), "grant of fulfilment")


def _await(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not _holds(holds):
        if time.monotonic() > deadline:
            raise DemoError(f"the mounted identity.json lacks the {what} after {SECONDS:.0f} s")
        time.sleep(PAUSE)


def _holds(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except (RejectedError, IdentityError):
        return False


def _patch(screen: Screen, cluster: Cluster, spec: dict[str, object]) -> None:
    """Change the policy's spec, and show the command."""
    patch = json.dumps({"spec": spec}, separators=(",", ":"))
    command = ("patch", "tp/orders", "-n", SHOP, "--type=merge", "-p")
    cluster.sandbox.kubectl(*command, patch)
    screen.command(f"kubectl {' '.join(command)} '{patch}'")


def _explain(directory: Path, scene: table.Scene, message: Message) -> table.Explained:
    """Run `troth event explain` with fulfilment's files."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "troth.cli", "event", "explain", "-"),
            *("--identity", str(directory / f"{FULFILMENT.name}-identity")),
            *("--bundle", str(directory / BUNDLE)),
        ],
        input=json.dumps(document(message, scene.exchange.binding)),
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return table.Explained(done.returncode, (done.stdout or done.stderr).rstrip())
