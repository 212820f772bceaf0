"""Selections become unread only while the API server answers other requests."""

from dataclasses import dataclass, field
from typing import cast

from structlog.testing import capture_logs

from troth.cluster.selection import Selection
from troth.cluster.watching.informer import Informer
from troth.reconcile.loop.freshness import CONTACT, UNREAD_AFTER, Freshness

POLICIES, IDENTITIES = Selection("TopicPolicy"), Selection("ServiceIdentity")


@dataclass
class Read:
    """An informer that last read its selection at a time."""

    selection: Selection
    scene: "Scene"
    at: float = 0.0

    @property
    def age(self) -> float:
        return self.scene.now - self.at


@dataclass
class Scene:
    now: float = 1000.0
    answered_at: float = 1000.0
    told: list[tuple[str, bool]] = field(default_factory=list)
    informers: list[Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.informers = [Read(each, self, self.now) for each in (POLICIES, IDENTITIES)]
        self.freshness = Freshness(
            lambda: cast("list[Informer]", self.informers),
            lambda: self.answered_at,
            lambda selection, unread: self.told.append((selection.kind, unread)),
        )

    def live(self, seconds: float, *reading: Selection, answers: bool = True) -> None:
        """Let time pass in which only some selections are read."""
        end = self.now + seconds
        while self.now < end:
            self.now += 10.0
            if answers:
                self.answered_at = self.now
            for each in self.informers:
                if each.selection in reading:
                    each.at = self.now
            self.freshness.look(self.now)


def test_rejected_selection_becomes_unread_and_is_read_again() -> None:
    it = Scene()
    it.live(UNREAD_AFTER, POLICIES)
    assert it.told == []
    it.live(20, POLICIES)
    assert it.told == [("ServiceIdentity", True)]
    it.live(600, POLICIES)
    it.live(10, POLICIES, IDENTITIES)
    assert it.told == [("ServiceIdentity", True), ("ServiceIdentity", False)]


def test_every_selection_can_become_unread_while_the_lease_is_renewed() -> None:
    it = Scene()
    it.live(UNREAD_AFTER + 20)
    assert sorted(it.told) == [("ServiceIdentity", True), ("TopicPolicy", True)]


def test_outage_of_the_api_server_makes_no_selection_unread() -> None:
    it = Scene()
    it.live(60, POLICIES, IDENTITIES)
    it.live(3600, answers=False)
    assert it.told == []
    it.live(60, POLICIES)  # watches come back one after the other
    it.live(60, POLICIES, IDENTITIES)
    assert it.told == []


def test_selection_stays_unread_over_an_outage() -> None:
    it = Scene()
    it.live(UNREAD_AFTER + 20, POLICIES)
    it.live(3 * CONTACT, answers=False)
    it.live(20, POLICIES)
    assert it.told == [("ServiceIdentity", True)]


def test_selection_that_comes_back_from_no_outage_becomes_unread() -> None:
    it = Scene()
    it.live(3600, answers=False)
    it.live(UNREAD_AFTER + 20, POLICIES)
    assert it.told == [("ServiceIdentity", True)]


def test_selection_of_a_namespace_that_is_gone_is_not_unread() -> None:
    it = Scene()
    it.live(UNREAD_AFTER + 20, POLICIES)
    del it.informers[1]
    with capture_logs() as logged:
        it.live(10, POLICIES)
    assert [each["event"] for each in logged] == ["selection no longer counts as unread"]
    assert it.told == [("ServiceIdentity", True), ("ServiceIdentity", False)]
