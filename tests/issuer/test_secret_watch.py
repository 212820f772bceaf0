"""One Secret is followed: what it says now, or said last, and nothing once it is gone."""

from typing import cast

import pytest
from structlog.testing import capture_logs

from tests.issuer.builders import (
    CHECKOUT,
    NAME,
    NAMESPACE,
    PAYMENTS,
    secret,
    secret_data,
    without_edge,
)
from troth.cluster.api import ApiServer, Selection
from troth.issuer import secret_watch as module
from troth.issuer.secret_watch import MandateWatch
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest

THE_SECRET = Ref(NAMESPACE, f"{NAME}-tokens")


class Clock:
    moment = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> MandateWatch:
    return MandateWatch(NAMESPACE, NAME, clock)


def audiences(watch: MandateWatch) -> set[str]:
    assert watch.mandate is not None
    return set(watch.mandate.view.callers[CHECKOUT].audiences)


def test_it_is_not_ready_until_there_was_a_view(watch: MandateWatch) -> None:
    assert not watch.ready
    assert watch.age is None
    watch.observe(secret())
    assert watch.ready


def test_an_edge_that_goes_is_gone_at_once(watch: MandateWatch) -> None:
    watch.observe(secret())
    assert audiences(watch) == {PAYMENTS}
    watch.observe(secret(secret_data(without_edge()), "2"))
    assert audiences(watch) == set()


def test_the_age_is_that_of_the_last_change(watch: MandateWatch, clock: Clock) -> None:
    watch.observe(secret())
    clock.moment = 7.0
    watch.observe(secret())  # seen again, by a list after a watch that broke off
    assert watch.age == 7.0
    watch.observe(secret(version="2"))
    assert watch.age == 0.0


def test_a_version_that_cannot_be_read_changes_nothing_and_is_told_once(
    watch: MandateWatch,
) -> None:
    watch.observe(secret())
    broken = secret({**secret_data(), "view.json.gz": b"half"}, "2")
    with capture_logs() as lines:
        watch.observe(broken)
        watch.observe(broken)
    assert [line["event"] for line in lines] == ["issuer configuration unreadable"]
    assert audiences(watch) == {PAYMENTS}
    watch.observe(secret(secret_data(without_edge()), "3"))
    assert audiences(watch) == set()


def test_an_unreadable_secret_changes_nothing(watch: MandateWatch) -> None:
    watch.observe(secret())
    newer = secret(secret_data(without_edge()), "2")
    with capture_logs() as lines:
        watch.observe({**newer, UNREADABLE: "spec: nests too deep"})
    assert [(line["event"], line["why"]) for line in lines] == [
        ("issuer configuration unreadable", "spec: nests too deep")
    ]
    assert audiences(watch) == {PAYMENTS}


def test_a_secret_that_is_not_expected_ends_nothing(
    watch: MandateWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is logged, for it may be a key."""

    def fail(_: Manifest) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(module, "read_mandate", fail)
    with capture_logs() as lines:
        watch.observe(secret())
    assert [line["event"] for line in lines] == ["issuer configuration unreadable"]
    assert all(line["why"].startswith("KeyError in test_secret_watch.py:") for line in lines)
    assert "hunter2" not in str(lines)
    monkeypatch.undo()
    watch.observe(secret(version="3"))
    assert watch.ready


def test_where_the_secret_is_deleted_nothing_more_is_issued(watch: MandateWatch) -> None:
    watch.observe(secret())
    watch.forget("Secret", THE_SECRET, 2)
    assert watch.current() is None
    assert not watch.ready


def test_a_secret_made_again_is_followed_again(watch: MandateWatch) -> None:
    watch.observe(secret())
    watch.forget("Secret", THE_SECRET, 2)
    watch.observe(secret())
    assert watch.ready


@pytest.mark.parametrize(("namespace", "name"), [("shop", NAME), (NAMESPACE, "staging")])
def test_other_secrets_are_nothing_to_it(watch: MandateWatch, namespace: str, name: str) -> None:
    other = secret(namespace=namespace)
    other["metadata"]["name"] = f"{name}-tokens"
    watch.observe(other)
    assert not watch.ready
    watch.observe(secret())
    watch.forget("Secret", Ref(namespace, f"{name}-tokens"), 2)
    assert watch.ready


def test_no_key_is_told_of_but_by_its_fingerprint(watch: MandateWatch) -> None:
    with capture_logs() as lines:
        watch.observe(secret())
    (line,) = lines
    assert len(line["signing_key"]) == 16
    assert "PRIVATE" not in str(line)


async def test_secret_is_selected_by_its_name(watch: MandateWatch) -> None:
    informer = watch.informer(cast(ApiServer, None))
    assert informer.selection == Selection(
        "Secret", NAMESPACE, fields=f"metadata.name={THE_SECRET.name}"
    )
