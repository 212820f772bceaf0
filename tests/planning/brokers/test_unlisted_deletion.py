"""End of a deletion in a namespace that Troth does not list, of which it knows only metadata."""

from datetime import timedelta

import pytest

from tests.builders import NOW, OWN, Manifest, at, stamp
from tests.messaging import broker, policy
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.planning.steps.objects import SetFinalizers
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import Watched
from troth.trust.grants import Rule
from troth.world.facts.broker import Ledger
from troth.world.keys import METADATA_OF, Key, status_key
from troth.world.observation.ledger import ledger_manifest
from troth.world.outcomes.selections import NamespaceListed
from troth.world.world import World

LISTED, UNLISTED, UNWATCHED = "shop", "messaging", "legal"
KINDS = tuple(METADATA_OF)
FOREIGN = "example.com/backup"
SECOND = timedelta(seconds=1)
WRITE = Rule("troth-shop.checkout", "TOPIC", "LITERAL", "prod.orders.v1", "WRITE", host="*")


@pytest.fixture
def world() -> World:
    """Return the world of Troth that watches two namespaces and could list only one of them."""
    made = World(OWN, Registry(Watched.of(OWN, [LISTED, UNLISTED])))
    made.registry.unlisted.expect({LISTED, UNLISTED})
    made.observe_outcome(NamespaceListed(LISTED))
    return made


def metadata(kind: str, namespace: str, *finalizers: str, deleted: bool = True) -> Manifest:
    """Return the metadata of a resource as the world takes it in."""
    found: Manifest = {
        "name": "main",
        "namespace": namespace,
        "uid": "first",
        "resourceVersion": "7",
        "finalizers": list(finalizers),
    }
    if deleted:
        found["deletionTimestamp"] = stamp(NOW)
    return {"kind": METADATA_OF[kind], "metadata": found}


def key(kind: str, namespace: str) -> Key:
    return Key(METADATA_OF[kind], Ref(namespace, "main"))


def planned(world: World, kind: str, namespace: str, after: timedelta = PATIENCE) -> Plan:
    return plan(key(kind, namespace), world, at(NOW + after))


def keep_ledger(world: World, ledger: Ledger) -> None:
    """Let the world know the ledger of the broker in the namespace that is not watched."""
    described = MessageBroker.parse(broker("main", UNWATCHED))
    manifest = ledger_manifest(OWN, described, ledger)
    manifest["metadata"] |= {"uid": "ledger", "resourceVersion": "5"}
    world.observe(manifest, 0.0)


@pytest.mark.parametrize("namespace", [UNWATCHED, UNLISTED])
@pytest.mark.parametrize("kind", KINDS)
def test_finalizer_is_removed_once_the_patience_is_over(
    world: World, kind: str, namespace: str
) -> None:
    affected = world.observe(metadata(kind, namespace, FOREIGN, FINALIZER), 0.0)
    assert affected == {key(kind, namespace)}
    waiting = planned(world, kind, namespace, PATIENCE - SECOND)
    assert (waiting.steps, waiting.status, waiting.due) == ((), None, NOW + PATIENCE)
    (step,) = planned(world, kind, namespace).steps
    assert isinstance(step, SetFinalizers)
    assert step.target == (kind, Ref(namespace, "main"))
    assert (step.uid, step.resource_version) == ("first", "7")
    assert step.finalizers == (FOREIGN,)
    assert step.known_as == METADATA_OF[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_listed_namespace_is_left_to_the_plans_of_its_resources(world: World, kind: str) -> None:
    world.observe(metadata(kind, LISTED, FINALIZER), 0.0)
    assert planned(world, kind, LISTED).steps == ()
    world.observe(metadata(kind, OWN, FINALIZER), 0.0)
    assert planned(world, kind, OWN).steps == ()


@pytest.mark.parametrize("kind", KINDS)
def test_namespace_that_is_listed_in_time_is_left_to_other_plans(world: World, kind: str) -> None:
    world.observe(metadata(kind, UNLISTED, FINALIZER), 0.0)
    assert planned(world, kind, UNLISTED).steps != ()
    assert key(kind, UNLISTED) in world.observe_outcome(NamespaceListed(UNLISTED))
    assert planned(world, kind, UNLISTED).steps == ()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_planned_without_a_deletion_or_without_the_finalizer(
    world: World, kind: str
) -> None:
    assert world.observe(metadata(kind, UNWATCHED, FINALIZER, deleted=False), 0.0) == set()
    assert planned(world, kind, UNWATCHED) == Plan(key(kind, UNWATCHED), "")
    world.forget(METADATA_OF[kind], Ref(UNWATCHED, "main"), 8, 0.0)
    held = metadata(kind, UNWATCHED, FOREIGN)
    held["metadata"] |= {"resourceVersion": "9", "uid": "second"}
    world.observe(held, 0.0)
    assert planned(world, kind, UNWATCHED).steps == ()


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_resource_is_forgotten(world: World, kind: str) -> None:
    world.observe(metadata(kind, UNWATCHED, FINALIZER), 0.0)
    affected = world.forget(METADATA_OF[kind], Ref(UNWATCHED, "main"), 8, 0.0)
    assert affected == {key(kind, UNWATCHED)}
    assert world.everything() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_declares_nothing(world: World, kind: str) -> None:
    revision = world.registry.revision
    complete = broker("main", UNWATCHED) if kind == "MessageBroker" else policy("main", UNWATCHED)
    world.observe({**complete, **metadata(kind, UNWATCHED, FINALIZER)}, 0.0)
    assert world.everything() == {key(kind, UNWATCHED)}
    assert not world.unreadable
    assert not world.quarantined
    assert world.registry.revision == revision
    assert not world.brokers.everything()


def test_warning_names_what_the_ledger_has(world: World) -> None:
    keep_ledger(world, Ledger(frozenset({WRITE})))
    world.observe(metadata("MessageBroker", UNWATCHED, FINALIZER), 0.0)
    (step,) = planned(world, "MessageBroker", UNWATCHED).steps
    assert isinstance(step, SetFinalizers)
    assert step.warning == (
        "1 rules and the credentials of 1 principals (troth-shop.checkout) stay at the broker, "
        "because Troth does not list the resources of namespace legal. ConfigMap "
        "troth-system/troth-ledger-legal.main lists them; delete it after you have removed them"
    )


def test_broker_without_grants_is_released_without_a_warning(world: World) -> None:
    world.observe(metadata("MessageBroker", UNWATCHED, FINALIZER), 0.0)
    (step,) = planned(world, "MessageBroker", UNWATCHED).steps
    assert isinstance(step, SetFinalizers)
    assert step.warning == ""
    keep_ledger(world, Ledger())
    assert planned(world, "MessageBroker", UNWATCHED).steps == (step,)


def test_warning_about_a_policy_names_the_policy(world: World) -> None:
    world.observe(metadata("TopicPolicy", UNLISTED, FINALIZER), 0.0)
    (step,) = planned(world, "TopicPolicy", UNLISTED).steps
    assert isinstance(step, SetFinalizers)
    assert step.warning == (
        "all grants that TopicPolicy messaging/main declares may stay at its broker, because "
        "Troth does not list the resources of namespace messaging"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_about_the_resource(kind: str) -> None:
    assert status_key(key(kind, UNWATCHED)) == Key(kind, Ref(UNWATCHED, "main"))
