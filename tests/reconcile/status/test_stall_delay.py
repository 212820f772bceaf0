"""A resource is stalled once the reason for it has not changed for a while."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, Manifest, domain, identity, namespace, stamp
from tests.reconcile.serving import Running, Server, running
from troth.planning.plan import Plan
from troth.planning.reasons.condition import Course
from troth.planning.verdicts import summed_up
from troth.reconcile.status.stall_delay import DELAY, StallDelay
from troth.resources.conditions import Condition, Truth, Verdict, placed
from troth.resources.references import Ref
from troth.world.keys import identity_key

Status = Mapping[str, Any]

SID = Ref("shop", "payments")
SECOND = timedelta(seconds=1)
BEFORE_IT_STALLS = timedelta(seconds=DELAY / 2)
LABEL = "label the namespace"


def status(reason: str = "NoTrustDomain", generation: int = 1, message: str = LABEL) -> Manifest:
    """Return the status of a resource that is not ready for a reason, or is ready without one."""
    cause = Verdict(type="A", status=Truth.FALSE, reason=reason, message=message)
    course = Course.PASSES if reason == "Coming" else Course.STAYS
    verdicts = summed_up(cause, course) if reason else summed_up(None, None)
    placed_ = [placed(each, (), generation, NOW).manifest() for each in verdicts]
    return {"observedGeneration": generation, "conditions": placed_}


def plan(after: Status | None, before: Status | None = None, uid: str = "uid") -> Plan:
    return Plan(identity_key(SID), uid, status=after, previous_status=before or {})


def flags(status: Any) -> dict[str, tuple[str, str, str]]:
    return {
        each["type"]: (each["status"], each["reason"], each["message"])
        for each in status["conditions"]
        if each["type"] != "Ready"
    }


COMING = {
    "Reconciling": ("True", "NoTrustDomain", LABEL),
    "Stalled": ("False", "Reconciling", ""),
}
STUCK = {
    "Reconciling": ("False", "Stalled", ""),
    "Stalled": ("True", "NoTrustDomain", LABEL),
}


def test_stalled_and_reconciling_have_the_message_of_ready() -> None:
    assert flags(status()) == STUCK
    assert flags(status("Coming", message="wait"))["Reconciling"] == ("True", "Coming", "wait")


def test_new_reason_is_in_progress_until_it_has_lasted() -> None:
    delay = StallDelay()
    first, left = delay.apply(plan(status()), NOW, 5.0)
    assert (flags(first.status), left) == (COMING, DELAY)
    again, left = delay.apply(plan(status(), first.status), NOW + SECOND, 6.0)
    assert (again.status, left) == (first.status, DELAY - 1), "nothing to write"
    late, left = delay.apply(plan(status(), first.status), NOW, 5.0 + DELAY)
    assert (flags(late.status), left) == (STUCK, None)
    kept, left = delay.apply(plan(status(), late.status), NOW, 6.0 + DELAY)
    assert (kept.status, left) == (late.status, None), "nothing to write"


def test_failed_write_does_not_start_the_delay_again() -> None:
    delay = StallDelay()
    first, _ = delay.apply(plan(status()), NOW, 5.0)
    for uptime in (5.0 + DELAY, 6.0 + DELAY):
        late, left = delay.apply(plan(status(), first.status), NOW, uptime)
        assert (flags(late.status), left) == (STUCK, None)


@pytest.mark.parametrize(
    "change",
    [
        plan(status("ServiceMissing"), status()),
        plan(status(generation=2), status()),
        plan(status(), uid="another"),
    ],
    ids=["another reason", "another spec", "another object"],
)
def test_change_starts_the_delay_again(change: Plan) -> None:
    delay = StallDelay()
    delay.apply(plan(status()), NOW, 5.0)
    changed, left = delay.apply(change, NOW, 5.0 + DELAY)
    assert left == DELAY
    assert flags(changed.status)["Stalled"][0] == "False"


def test_reason_that_returns_starts_the_delay_again() -> None:
    delay = StallDelay()
    delay.apply(plan(status()), NOW, 5.0)
    delay.apply(plan(status("")), NOW, 6.0)
    assert delay.apply(plan(status()), NOW, 5.0 + DELAY)[1] == DELAY


TURN = 4.0
"""Seconds for which each of two reasons that take turns is reported."""


@pytest.mark.parametrize("other", ["ServiceMissing", "Coming"])
def test_reason_that_takes_turns_with_another_stalls(other: str) -> None:
    delay, before, uptime = StallDelay(), status("Coming"), 5.0
    told = []
    for reason in ("NoTrustDomain", other) * 3:
        now_told, _ = delay.apply(plan(status(reason), before), NOW, uptime)
        before, uptime = dict(now_told.status or {}), uptime + TURN
        told.append((reason, flags(before)["Stalled"][0]))
    stalled = [uptime for uptime, each in enumerate(told) if each == ("NoTrustDomain", "True")]
    assert stalled == [4], "after 16 seconds; its first two turns were too early"


def test_reason_that_returns_late_starts_the_delay_again() -> None:
    delay = StallDelay()
    delay.apply(plan(status()), NOW, 5.0)
    delay.apply(plan(status("ServiceMissing")), NOW, 6.0)
    assert delay.apply(plan(status()), NOW, 6.0 + DELAY)[1] == DELAY


def test_reported_stall_that_returns_soon_is_not_taken_back_again() -> None:
    delay = StallDelay()
    delay.apply(plan(status(), status()), NOW, 5.0)
    coming, _ = delay.apply(plan(status("ServiceMissing"), status()), NOW, 6.0)
    back, left = delay.apply(plan(status(), coming.status), NOW, 7.0)
    assert (flags(back.status), left) == (STUCK, None)


@pytest.mark.parametrize("reason", ["", "InvalidSpec", "Coming", "NoTrustDomain"])
def test_nothing_is_kept_of_an_object_that_is_gone(reason: str) -> None:
    delay = StallDelay()
    delay.apply(plan(status(reason)), NOW, 5.0)
    delay.apply(plan(None), NOW, 6.0)
    assert not delay._lasting


def test_restart_does_not_take_a_stall_back() -> None:
    told = plan(status(), status())
    assert StallDelay().apply(told, NOW, 0.0) == (told, None)


@pytest.mark.parametrize(
    "other",
    [plan(None), plan(status("")), plan(status("Coming")), plan(status("InvalidSpec"))],
    ids=["gone", "ready", "in progress", "unreadable"],
)
def test_any_other_status_is_reported_as_planned(other: Plan) -> None:
    assert StallDelay().apply(other, NOW, 5.0) == (other, None)


def test_transition_times_of_unchanged_conditions_stay() -> None:
    earlier = status("Coming")
    later = replace(plan(status(), earlier), status=status())
    told, _ = StallDelay().apply(later, NOW + SECOND, 5.0)
    times = {each["lastTransitionTime"] for each in (told.status or {})["conditions"]}
    assert times == {stamp(NOW)}
    assert [Condition.model_validate(each) for each in (told.status or {})["conditions"]]


# In the engine


def told(server: Server) -> list[str]:
    """Return the status of Reconciling, Stalled and Ready."""
    types = ("Reconciling", "Stalled", "Ready")
    return [server.condition("ServiceIdentity", SID, each)["status"] for each in types]


async def first_apply(it: Running) -> None:
    """Create an identity and its namespace, as Flux does before it creates trust domains."""
    await it.put(namespace("shop", domain="production"))
    await it.put(identity("payments"))


async def test_trust_domain_that_follows_shortly_never_leaves_a_stall() -> None:
    server = Server()
    async with running(server, due=True) as it:
        await first_apply(it)
        assert told(server) == ["True", "False", "False"]
        assert server.condition("ServiceIdentity", SID, "Ready")["reason"] == "NoTrustDomain"
        await it.live(BEFORE_IT_STALLS)
        await it.put(domain())
        assert told(server) == ["False", "False", "True"]
        server.log.clear()
        await it.live(timedelta(seconds=DELAY))
        assert server.log == []


async def test_missing_trust_domain_stalls_with_one_more_write() -> None:
    server = Server()
    async with running(server, due=True) as it:
        await first_apply(it)
        server.log.clear()
        await it.live(BEFORE_IT_STALLS)
        assert server.log == []
        await it.live(BEFORE_IT_STALLS)
        assert server.log == [("ServiceIdentity", SID)]
        stalled = server.condition("ServiceIdentity", SID, "Stalled")
        ready = server.condition("ServiceIdentity", SID, "Ready")
        assert (stalled["status"], stalled["reason"]) == ("True", ready["reason"])
        assert stalled["message"] == ready["message"] != ""
        assert server.reasons() == ["NoTrustDomain"], "the Event says it once, at once"
        await it.live(timedelta(hours=1))
        assert server.log == [("ServiceIdentity", SID)]
    server.log.clear()
    async with running(server, due=True) as it:
        await it.settle()
        await it.live(timedelta(hours=1))
    assert server.log == [], "a restart writes nothing"
