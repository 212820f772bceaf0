"""Late observations do not restore a deleted object."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from tests.builders import OWN, Manifest, domain, identity, namespace
from tests.every_kind import EVERY_KIND, SAMPLES, SELECTIONS, sample, selection_of
from troth.reconcile.loop.informers import selections
from troth.resources.references import Ref
from troth.world.index.workloads import Workloads
from troth.world.versions import KEPT, MOST, Version, Versions
from troth.world.watch_class import GIVEN, watch_class_of
from troth.world.world import HANDLERS, Difference, World

LATER = 60.0


def world() -> World:
    return World(OWN, workloads=Workloads(enabled=True))


def ref_of(kind: str) -> Ref:
    return Ref.of(SAMPLES[kind])


def test_every_watched_kind_has_a_sample() -> None:
    watched = {each.watch_class for each in SELECTIONS}
    assert watched == set(SAMPLES) == set(HANDLERS)
    assert all(watch_class_of(each, OWN) == kind for kind, each in SAMPLES.items())


# Late answers and events


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("version", [10, 11, 12])
def test_late_observation_does_not_restore_a_deleted_object(kind: str, version: int) -> None:
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.forget(kind, ref_of(kind), 12, uptime=0.0)
    assert not it.is_news(sample(kind, version))
    assert it.observe(sample(kind, version), uptime=0.0) == set()
    assert not it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_late_answer_does_not_restore_a_deleted_object(kind: str) -> None:
    """The world has not even seen the object: its creation and its deletion were in the watch."""
    it = world()
    it.forget(kind, ref_of(kind), 12, uptime=0.0)
    assert it.observe(sample(kind, 11), uptime=0.0) == set()
    assert not it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_namesake_made_after_a_deletion_is_known(kind: str) -> None:
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.forget(kind, ref_of(kind), 12, uptime=0.0)
    it.observe(sample(kind, 13, "second"), uptime=0.0)
    assert it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_that_is_selected_again_is_known(kind: str) -> None:
    """A watch tells of a label that is taken off as of a deletion, and the object lives on."""
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.forget(kind, ref_of(kind), 12, uptime=0.0)
    it.observe(sample(kind, 13), uptime=0.0)
    assert it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_that_troth_deleted_is_not_revived_by_a_later_version_of_it(kind: str) -> None:
    """The answer to a deletion has no version, and somebody may have changed the object before."""
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.forget_uid(kind, ref_of(kind), "first", uptime=0.0)
    assert not it.knows(kind, ref_of(kind))
    assert it.observe(sample(kind, 11), uptime=0.0) == set()
    assert not it.knows(kind, ref_of(kind))
    it.observe(sample(kind, 13, "second"), uptime=0.0)
    assert it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_namesake_stays_when_the_answer_to_a_deletion_is_late(kind: str) -> None:
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.observe(sample(kind, 13, "second"), uptime=0.0)
    assert it.forget_uid(kind, ref_of(kind), "first", uptime=0.0) == set()
    assert it.knows(kind, ref_of(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_answer_is_late_where_a_later_list_did_not_have_the_object(kind: str) -> None:
    it = world()
    it.note_list(selection_of(kind), 20)
    assert it.is_unlisted(sample(kind, 20))
    assert not it.is_unlisted(sample(kind, 21))
    it.observe(sample(kind, 15), uptime=0.0)
    assert not it.is_unlisted(sample(kind, 20))


def test_list_of_another_scope_has_no_effect() -> None:
    it = world()
    for selection in selections(OWN):
        if selection != selection_of("Secret"):
            it.note_list(selection, 20)
    assert not it.is_unlisted(sample("Secret", 15))


def test_former_watch_class_of_an_object_is_not_restored() -> None:
    """Each selection has a watch of its own, and one may be behind the other."""
    it, given, written = world(), sample(GIVEN, 10), sample("Secret", 11)
    written["metadata"]["name"] = given["metadata"]["name"]
    it.observe(written, uptime=0.0)
    assert it.observe(given, uptime=0.0) == set()
    assert not it.knows(GIVEN, Ref.of(given))
    given["metadata"]["resourceVersion"] = "12"
    it.observe(given, uptime=0.0)
    assert it.knows(GIVEN, Ref.of(given))
    assert not it.knows("Secret", Ref.of(given))


# What stays of an object


def contents(value: Any, seen: tuple[int, ...] = ()) -> Any:
    """Return all that hangs on a value, empty collections and what is worked out of facts apart."""
    if id(value) in seen or callable(value):
        return None
    seen = (*seen, id(value))
    match value:
        case str() | bytes() | int() | float() | None:
            return value
        case Mapping():
            pairs = ((repr(key), contents(each, seen)) for key, each in value.items())
            return {
                key: each for key, each in sorted(pairs, key=repr) if each not in ({}, [], None)
            }
        case set() | frozenset() | list() | tuple():
            return sorted((contents(each, seen) for each in value), key=repr)
        case Versions():
            return None
    named = (
        {each.name for each in dataclasses.fields(value)}
        if dataclasses.is_dataclass(value)
        else set()
    )
    slots = {name for each in type(value).__mro__ for name in getattr(each, "__slots__", ())}
    names = named | slots | set(getattr(value, "__dict__", {}))
    parts = {name: getattr(value, name, None) for name in names - DERIVED}
    return contents(parts, seen) if parts else repr(value)


DERIVED = {"revision", "grants", "memo", "_judged", "_governance"}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_deleted_object_leaves_nothing(kind: str) -> None:
    without, it = world(), world()
    for version, each in enumerate(EVERY_KIND, 1):
        it.observe(sample(each, version), uptime=0.0)
        if each != kind:
            without.observe(sample(each, version), uptime=0.0)
    it.forget(kind, ref_of(kind), 100, uptime=0.0)
    assert contents(it) == contents(without)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_namesake_inherits_nothing(kind: str) -> None:
    """A watch that was dead tells of the new object alone."""
    fresh, it = world(), world()
    for version, each in enumerate(EVERY_KIND, 1):
        it.observe(sample(each, version), uptime=0.0)
        if each != kind:
            fresh.observe(sample(each, version), uptime=0.0)
    fresh.observe(sample(kind, 100, "second"), uptime=LATER)
    it.observe(sample(kind, 100, "second"), uptime=LATER)
    assert contents(it) == contents(fresh)


def bundle_in(place: Ref) -> Manifest:
    """Return the trust bundle that Troth wrote into a namespace."""
    made = sample("ConfigMap", 1)
    made["metadata"] |= {"name": place.name, "namespace": place.namespace}
    return made


def test_namespaces_that_are_gone_leave_no_governance() -> None:
    """Their objects' deletions are observed after theirs, and plans then ask who governs them."""
    it = world()
    it.observe(domain(), uptime=0.0)
    places = [Ref(f"review-{number}", "trust-bundle") for number in range(100)]
    for place in places:
        it.observe(namespace(place.namespace, domain="production"), uptime=0.0)
        it.observe(identity("payments", place.namespace), uptime=0.0)
        it.observe(bundle_in(place), uptime=0.0)
        assert it.registry.governance(place.namespace).domain is not None
    for version, place in enumerate(places, 10):
        it.forget("Namespace", Ref("", place.namespace), version, uptime=0.0)
        it.forget("ServiceIdentity", Ref(place.namespace, "payments"), version, uptime=0.0)
        it.forget("ConfigMap", place, version, uptime=0.0)
        assert it.registry.governance(place.namespace).reason == "NamespaceMissing"
    assert it.registry._governance.keys() <= it.registry.namespaces.keys()


# How many are remembered


def test_tombstones_are_kept_for_as_long_as_an_answer_may_be_late() -> None:
    it, ref = Versions(), Ref("shop", "payments")
    it.bury("Secret", ref, 12, 0.0)
    it.bury("Secret", Ref("shop", "web"), 13, KEPT)
    assert it.gone_at("Secret", ref) == 12
    it.bury("Secret", Ref("shop", "web"), 14, KEPT + 1)
    assert it.gone_at("Secret", ref) < 0
    assert it.gone_at("Secret", Ref("shop", "web")) == 14


def test_tombstones_are_bounded_in_number() -> None:
    it = Versions()
    for number in range(MOST + 2):
        it.bury("Secret", Ref("shop", str(number)), number, 0.0)
    assert it.gone_at("Secret", Ref("shop", "1")) < 0
    assert it.gone_at("Secret", Ref("shop", "2")) == 2


def test_tombstone_of_a_late_deletion_keeps_the_latest_version() -> None:
    it, ref = Versions(), Ref("shop", "payments")
    it.bury("Secret", ref, 12, 0.0)
    it.bury("Secret", ref, 11, 0.0)
    assert it.gone_at("Secret", ref) == 12


# A store that was restored from a snapshot


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_in_a_list_is_past_if_it_was_known_at_a_later_version(kind: str) -> None:
    it = world()
    assert not it.is_past(sample(kind, 9), 20), "unknown"
    it.observe(sample(kind, 10), uptime=0.0)
    assert it.is_past(sample(kind, 9), 20)
    assert it.is_past(sample(kind, 9, "second"), 20)
    assert not it.is_past(sample(kind, 10), 20)
    assert not it.is_past(sample(kind, 9), 9), "the list is from before"


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_in_a_list_is_past_if_it_was_gone_at_a_later_version(kind: str) -> None:
    it = world()
    it.observe(sample(kind, 10), uptime=0.0)
    it.forget(kind, ref_of(kind), 12, uptime=0.0)
    assert it.is_past(sample(kind, 10), 20)
    assert not it.is_past(sample(kind, 10), 11), "the list is from before"
    assert not it.is_past(sample(kind, 13, "second"), 20), "it was made again"


# Comparing with a list


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_world_differs_from_a_list_as_ghost_missing_or_stale(kind: str) -> None:
    it, ref = world(), ref_of(kind)

    def differs(listed: int | None, at: int, uid: str = "first") -> Difference | None:
        version = None if listed is None else Version(listed, uid)
        return it.difference(kind, ref, version, at)

    assert differs(None, 20) is None
    assert differs(10, 20) is Difference.MISSING
    it.observe(sample(kind, 10), uptime=0.0)
    assert differs(10, 20) is None
    assert differs(None, 20) is Difference.GHOST
    assert differs(12, 20) is Difference.STALE
    assert differs(9, 20) is Difference.NEWER, "an object never goes back"
    assert differs(10, 20, "second") is Difference.STALE
    assert differs(None, 9) is None, "it was made after the list"
    it.forget(kind, ref, 25, uptime=0.0)
    assert differs(10, 20) is None, "it was deleted after the list"
    assert differs(10, 25) is Difference.MISSING


def test_object_that_troth_deleted_is_not_missing() -> None:
    it = world()
    it.observe(sample("Secret", 10), uptime=0.0)
    it.forget_uid("Secret", ref_of("Secret"), "first", uptime=0.0)
    assert it.difference("Secret", ref_of("Secret"), Version(11, "first"), 20) is None


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_distrusted_version_is_replaced_by_the_api_servers(kind: str) -> None:
    it, ref = world(), ref_of(kind)
    it.observe(sample(kind, 30), uptime=0.0)
    it.forget(kind, ref, 40, uptime=0.0)
    it.distrust(sample(kind, 20))
    it.observe(sample(kind, 20), uptime=0.0)
    assert it.difference(kind, ref, Version(20, "first"), 50) is None
