"""Watch of the issuer's Secret: its last readable version is in effect, none after a deletion."""

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
from troth.cluster.api import ApiServer
from troth.cluster.selection import Selection
from troth.issuer import secret_watch as module
from troth.issuer.secret_watch import ConfigurationWatch
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
def watch(clock: Clock) -> ConfigurationWatch:
    return ConfigurationWatch(NAMESPACE, NAME, clock)


def audiences(watch: ConfigurationWatch) -> set[str]:
    assert watch.configuration is not None
    return set(watch.configuration.grants.callers[CHECKOUT].audiences)


def test_watch_is_ready_after_the_first_view(watch: ConfigurationWatch) -> None:
    assert not watch.ready
    assert watch.age is None
    watch.observe(secret())
    assert watch.ready


def test_removed_edge_is_removed_at_once(watch: ConfigurationWatch) -> None:
    watch.observe(secret())
    assert audiences(watch) == {PAYMENTS}
    watch.observe(secret(secret_data(without_edge()), "2"))
    assert audiences(watch) == set()


def test_age_counts_from_the_last_change(watch: ConfigurationWatch, clock: Clock) -> None:
    watch.observe(secret())
    clock.moment = 7.0
    watch.observe(secret())  # again, by the list after a broken watch
    assert watch.age == 7.0
    watch.observe(secret(version="2"))
    assert watch.age == 0.0


def test_invalid_version_changes_nothing_and_is_logged_once(
    watch: ConfigurationWatch,
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


def test_unreadable_secret_changes_nothing(watch: ConfigurationWatch) -> None:
    watch.observe(secret())
    newer = secret(secret_data(without_edge()), "2")
    with capture_logs() as lines:
        watch.observe({**newer, UNREADABLE: "spec: nests too deep"})
    assert [(line["event"], line["why"]) for line in lines] == [
        ("issuer configuration unreadable", "spec: nests too deep")
    ]
    assert audiences(watch) == {PAYMENTS}


def test_unexpected_error_changes_nothing(
    watch: ConfigurationWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log does not have the error's text either, because it may be a key."""

    def fail(_: Manifest) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(module, "read_configuration", fail)
    with capture_logs() as lines:
        watch.observe(secret())
    assert [line["event"] for line in lines] == ["issuer configuration unreadable"]
    assert all(line["why"].startswith("KeyError in test_secret_watch.py:") for line in lines)
    assert "hunter2" not in str(lines)
    monkeypatch.undo()
    watch.observe(secret(version="3"))
    assert watch.ready


def test_nothing_is_issued_after_the_secret_is_deleted(watch: ConfigurationWatch) -> None:
    watch.observe(secret())
    watch.forget("Secret", THE_SECRET, 2)
    assert watch.current() is None
    assert not watch.ready


def test_recreated_secret_is_used(watch: ConfigurationWatch) -> None:
    watch.observe(secret())
    watch.forget("Secret", THE_SECRET, 2)
    watch.observe(secret())
    assert watch.ready


@pytest.mark.parametrize(("namespace", "name"), [("shop", NAME), (NAMESPACE, "staging")])
def test_other_secrets_are_ignored(watch: ConfigurationWatch, namespace: str, name: str) -> None:
    other = secret(namespace=namespace)
    other["metadata"]["name"] = f"{name}-tokens"
    watch.observe(other)
    assert not watch.ready
    watch.observe(secret())
    watch.forget("Secret", Ref(namespace, f"{name}-tokens"), 2)
    assert watch.ready


def test_log_names_a_key_by_its_fingerprint_only(watch: ConfigurationWatch) -> None:
    with capture_logs() as lines:
        watch.observe(secret())
    (line,) = lines
    assert len(line["signing_key"]) == 16
    assert "PRIVATE" not in str(line)


async def test_secret_is_selected_by_its_name(watch: ConfigurationWatch) -> None:
    informer = watch.informer(cast(ApiServer, None))
    assert informer.selection == Selection(
        "Secret", NAMESPACE, fields=f"metadata.name={THE_SECRET.name}"
    )
